package memcached_test

import (
	"flag"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

var (
	diffSeed     = flag.Uint64("diff-seed", 1, "seed of the commands that TestDifferential sends")
	diffCommands = flag.Int("diff-commands", 5000, "how many commands TestDifferential sends")
)

// TestDifferential sends the same random streams of commands to the real
// memcached and to ours; the answers must be the same to the byte, but for what
// comparable evens out, and so must the counters at the end.
func TestDifferential(t *testing.T) {
	oracle := startReal(t, withoutEngine()...)
	oracle.mustBeOurs(t)
	d := differ{t: t, servers: [2]dialer{oracle.dial, dialTCP(serveTCP(t, nil))}}

	sessions, commands := 0, 0
	for ; commands < *diffCommands; sessions++ {
		g := generator{rand.New(rand.NewPCG(*diffSeed, uint64(sessions)))}
		session := g.session()
		if diff := d.compare(session); diff != "" {
			session = d.shrink(session)
			t.Fatalf("seed %d, session %d: (-real +ours)\n%s\nof this script:\n%s", *diffSeed, sessions, d.compare(session), script(session))
		}
		for _, s := range session {
			commands += len(s.commands)
		}
	}
	for _, name := range counters() {
		if real, ours := d.counter(0, name), d.counter(1, name); real != ours {
			t.Errorf("seed %d: %s is %q with the real server, %q with ours", *diffSeed, name, real, ours)
		}
	}
	t.Logf("seed %d: %d commands in %d sessions compared", *diffSeed, commands, sessions)
}

// A differ runs sessions on the real server and on ours.
type differ struct {
	t       *testing.T
	servers [2]dialer
}

// compare returns how the answers differ, or "". Each session begins with empty
// servers.
func (d differ) compare(session []stream) string {
	var answers [2][]string
	done := make(chan struct{})
	go func() {
		defer close(done)
		answers[0] = d.run(0, session)
	}()
	answers[1] = d.run(1, session)
	<-done
	return cmp.Diff(answers[0], answers[1])
}

// run returns the comparable answers to each stream.
func (d differ) run(server int, session []stream) []string {
	var answers []string
	fresh, _ := d.send(server, stream{commands: []string{"flush_all\r\nset k 0 0 0\r\n\r\ngets k\r\ndelete k\r\n"}}, nil)
	base, _ := strconv.ParseUint(casOf.FindStringSubmatch(fresh)[2], 10, 64)
	ids := map[string]uint64{}
	for _, s := range session {
		answer, err := d.send(server, s, ids)
		if err != nil {
			answer += fmt.Sprintf("(%v)", err)
		}
		for _, m := range casOf.FindAllStringSubmatch(answer, -1) {
			ids[m[1]], _ = strconv.ParseUint(m[2], 10, 64)
		}
		answers = append(answers, comparable(answer, base))
	}
	return answers
}

// padding makes up for what the last command of a stream announced and didn't
// send: the real server keeps answers back while it waits for a value.
var padding = "mn " + strings.Repeat(".", 200) + "\r\nquit\r\n"

// send returns all that a new connection answers to s.
func (d differ) send(server int, s stream, ids map[string]uint64) (string, error) {
	nc := d.servers[server](d.t)
	defer nc.Close()
	if err := nc.SetDeadline(time.Now().Add(patience)); err != nil {
		return "", err
	}
	sent := make(chan error, 1)
	go func() {
		for _, piece := range s.pieces(withIDs(strings.Join(s.commands, ""), ids) + padding) {
			if _, err := io.WriteString(nc, piece); err != nil {
				sent <- err
				return
			}
		}
		sent <- nc.(*net.TCPConn).CloseWrite()
	}()
	answer, err := io.ReadAll(nc)
	if failed := <-sent; err == nil {
		err = failed
	}
	return string(answer), err
}

// withIDs replaces <cas:KEY> by the id last seen for KEY, and <less:KEY> by one
// less.
func withIDs(text string, ids map[string]uint64) string {
	if !strings.Contains(text, "<") {
		return text
	}
	for _, key := range keys() {
		id := max(2, ids[key])
		text = strings.ReplaceAll(text, "<cas:"+key+">", strconv.FormatUint(id, 10))
		text = strings.ReplaceAll(text, "<less:"+key+">", strconv.FormatUint(id-1, 10))
	}
	return text
}

var (
	// casOf finds the ids in answers to gets and gats, with their keys.
	casOf = regexp.MustCompile(`(?m)^VALUE (\S+) \d+ \d+ (\d+)\r$`)

	casIDs   = regexp.MustCompile(`(?m)^((?:VALUE \S+ \d+ \d+|(?:HD|VA \d+)(?: [^ \r]+)*? c|ME .* cas=) ?)([1-9]\d*)\b`)
	spans    = regexp.MustCompile(`( t|exp=-?)(\d+)`)
	idle     = regexp.MustCompile(`( l|la=)\d\b`)
	versions = regexp.MustCompile(`VERSION \S+`)
)

// comparable evens out what may differ: cas ids begin somewhere, and seconds
// pass while the streams run.
func comparable(answer string, base uint64) string {
	answer = casIDs.ReplaceAllStringFunc(answer, func(s string) string {
		m := casIDs.FindStringSubmatch(s)
		id, _ := strconv.ParseUint(m[2], 10, 64)
		return m[1] + "base+" + strconv.FormatUint(id-base, 10)
	})
	return versions.ReplaceAllString(withoutTimes(answer), "VERSION")
}

// withoutTimes rounds spans of time to hundreds of seconds, and idle times to
// nothing.
func withoutTimes(answer string) string {
	answer = spans.ReplaceAllStringFunc(answer, func(s string) string {
		m := spans.FindStringSubmatch(s)
		seconds, _ := strconv.ParseUint(m[2], 10, 64)
		if seconds > 30*24*60*60 { // absolute, or negative and wrapped around
			return m[1] + "far"
		}
		return m[1] + strconv.FormatUint((seconds+50)/100*100, 10)
	})
	return idle.ReplaceAllString(answer, "${1}now")
}

// shrink leaves out commands as long as what remains differs.
func (d differ) shrink(session []stream) []stream {
	differs := func(s []stream) bool { return d.compare(s) != "" }
	for i := range session {
		whole := cloned(session)
		whole[i].piece = 0
		if differs(whole) {
			session = whole
		}
	}
	for n := 32; n > 0; {
		shorter := false
		for i := len(session) - 1; i >= 0; i-- {
			for at := 0; at < len(session[i].commands); {
				less := cloned(session)
				c := less[i].commands
				less[i].commands = append(c[:at:at], c[min(at+n, len(c)):]...)
				if differs(less) {
					session, shorter = less, true
				} else {
					at += n
				}
			}
		}
		if n > 1 || !shorter {
			n /= 2
		}
	}
	return session
}

func cloned(session []stream) []stream { return append([]stream(nil), session...) }

// script shows a session for people.
func script(session []stream) string {
	var b strings.Builder
	for i, s := range session {
		if len(s.commands) == 0 {
			continue
		}
		fmt.Fprintf(&b, "connection %d, pieces of %d\n", i+1, s.piece)
		for _, c := range s.commands {
			fmt.Fprintf(&b, "  %.400q\n", c)
		}
	}
	return b.String()
}

// counters are the figures of stats that mean the same in both servers.
func counters() []string {
	return []string{
		"cmd_get", "cmd_touch", "cmd_meta", "get_hits", "get_misses", "delete_hits", "delete_misses",
		"incr_hits", "incr_misses", "decr_hits", "decr_misses", "cas_hits", "cas_misses", "cas_badval",
		"touch_hits", "touch_misses", "store_too_large", "total_items",
	}
}

func (d differ) counter(server int, name string) string {
	stats, err := d.send(server, stream{commands: []string{"stats\r\n"}}, nil)
	if err != nil {
		d.t.Fatal(err)
	}
	_, rest, _ := strings.Cut(stats, "STAT "+name+" ")
	value, _, _ := strings.Cut(rest, "\r\n")
	return value
}
