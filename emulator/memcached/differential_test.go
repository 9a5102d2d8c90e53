package memcached_test

import (
	"fmt"
	"regexp"
	"strconv"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"
)

// TestDifferential sends the same generated streams of commands to the real
// memcached and to ours; the answers must be the same to the byte, but for the
// cas ids. The streams are full of mistakes. They keep away from what
// depends on when they run (short expirations) and from what doc.go says we
// don't imitate.
func TestDifferential(t *testing.T) {
	// The real server's background threads hold items for moments in which decr
	// doesn't pad its result.
	oracle := startReal(t, "-o", "no_lru_crawler,no_lru_maintainer")
	servers := [2]dialer{oracle.dial, dialTCP(serveTCP(t, nil))}
	commands := 0
	rapid.Check(t, func(rt *rapid.T) {
		var ids [2]map[string]string // key → cas id last seen
		for i := range servers {
			ids[i] = map[string]string{}
			exchange(t, servers[i](t), "flush_all\r\nquit\r\n")
		}
		for range rapid.IntRange(1, 4).Draw(rt, "connections") {
			stream := rapid.SliceOfN(rapid.Custom(drawCommand), 1, 25).Draw(rt, "stream")
			commands += len(stream)
			var answers [2]string
			for i, dial := range servers {
				// Whatever the last command announced is made up for by the
				// empty lines.
				text := withIDs(strings.Join(stream, ""), ids[i]) + strings.Repeat("\r\n", 100) + "quit\r\n"
				answer := exchange(t, dial(t), text)
				for _, m := range valueLine.FindAllStringSubmatch(answer, -1) {
					ids[i][m[2]] = m[4]
				}
				answers[i] = valueLine.ReplaceAllString(answer, "$1 CAS")
			}
			answers[0] = oracle.asOurs(answers[0])
			if diff := cmp.Diff(answers[0], answers[1]); diff != "" {
				rt.Fatalf("after %q (-real +ours):\n%s", stream, diff)
			}
		}
	})
	t.Logf("%d commands compared", commands)
}

// valueLine is the head of an entry that gets or gats found.
var valueLine = regexp.MustCompile(`(VALUE (\S+) (\d+ \d+)) (\d+)(?:\r\n)`)

// withIDs replaces <cas:KEY> by the id last seen for KEY.
func withIDs(stream string, ids map[string]string) string {
	for _, key := range keys() {
		id := ids[key]
		if id == "" {
			id = "1"
		}
		stream = strings.ReplaceAll(stream, "<cas:"+key+">", id)
	}
	return stream
}

func keys() []string {
	return []string{"a", "b", "c", "n", "t\tx\x01", strings.Repeat("k", 250)}
}

// drawCommand draws a command with its data.
func drawCommand(t *rapid.T) string {
	pick := func(label string, of ...string) string { return rapid.SampledFrom(of).Draw(t, label) }
	key := rapid.SampledFrom(append(keys(), "a", "b", "n", "n")).Draw(t, "key")
	exptime := pick("exptime", "0", "0", "0", "-1", "100", "2592000", "2592001", "2147483647", "4294967295", "4294967296", "x", "1x", "\t0", "9223372036854775808")
	end := pick("end", "\r\n", "\r\n", "\r\n", "\r\n", "\n", " \r\n", " noreply\r\n", " x\r\n", " noreply x\r\n", " \x00zz\r\n")
	gap := pick("gap", " ", " ", " ", "  ")
	switch rapid.IntRange(0, 11).Draw(t, "command") {
	case 0, 1, 2, 3:
		return drawUpdate(t, key, exptime, end, gap)
	case 4, 5:
		verb := pick("verb", "get", "gets", "gets", "bget")
		n := rapid.IntRange(0, 4).Draw(t, "more keys")
		for range n {
			key += gap + rapid.SampledFrom(keys()).Draw(t, "another key")
		}
		return verb + gap + key + strings.TrimSuffix(end, "x\r\n") + "\r\n"
	case 6:
		return pick("verb", "gat", "gats") + gap + exptime + gap + key + end
	case 7:
		delta := pick("delta", "0", "1", "9", "12345", "4611686018427387904", "-1", "x", "+2", "18446744073709551616", "1\tx")
		return pick("verb", "incr", "decr") + gap + key + gap + delta + end
	case 8:
		return "touch" + gap + key + gap + exptime + end
	case 9:
		return "delete" + gap + key + pick("hold", "", "", "", " 0", " 1") + end
	case 10:
		return pick("verb", "flush_all", "flush_all 0", "flush_all -1", "version", "verbosity 0", "verbosity", "verbosity x", "verbosity 1 1 1", "shutdown", "stats nonsense", "stats sizes") + end
	default:
		words := rapid.SliceOfN(rapid.SampledFrom([]string{
			"", "x", "get", "set", "cas", "delete", "incr", "touch", "gat", "a", "b", "0", "-1", "100", "noreply", "\r", "\x01", "GET", "quitx",
		}), 0, 7).Draw(t, "words")
		return strings.Join(words, " ") + end
	}
}

// drawUpdate draws a command that stores, whose data may be longer or shorter
// than it says.
func drawUpdate(t *rapid.T, key, exptime, end, gap string) string {
	pick := func(label string, of ...string) string { return rapid.SampledFrom(of).Draw(t, label) }
	verb := pick("verb", "set", "set", "set", "add", "replace", "append", "prepend", "cas", "cas")
	flags := pick("flags", "0", "0", "7", "4294967295", "4294967296", "-1", "x", "+1")
	data := pick("data", "", "1", "10", "99", "-3", " 8", "8 ", "x", "12x", "abc", "ab\r\ncd", "get a", "-18446744073709551615", strings.Repeat("v", 90))
	length := strconv.Itoa(len(data))
	switch rapid.IntRange(0, 15).Draw(t, "length") {
	case 0:
		length = strconv.Itoa(len(data) + rapid.IntRange(-3, 9).Draw(t, "error"))
	case 1:
		length = fmt.Sprint(4294967296 + len(data))
	case 2:
		length = pick("bad length", "-1", "x", "2147483646", "1x")
	}
	line := strings.Join([]string{verb, key, flags, exptime, length}, gap)
	if verb == "cas" {
		line += gap + pick("cas", "<cas:a>", "<cas:b>", "<cas:n>", "<cas:"+key+">", "<cas:"+key+">", "0", "x", "-1")
	}
	return line + end + data + "\r\n"
}
