package memcached_test

import (
	"fmt"
	"io"
	"net"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/latchwork/latchwork/emulator/memcached"
)

// The largest values that an item limit of 1 MiB admits, found on the real
// server: the limit less 59 bytes, the key, and 4 if there are flags.
func largeScripts() map[string]string {
	set := func(verb, key string, flags, n int) string {
		return fmt.Sprintf("%s %s %d 0 %d\r\n%s\r\n", verb, key, flags, n, strings.Repeat("v", n))
	}
	const limit = 1<<20 - 59
	long := strings.Repeat("k", 250)
	many := make([]string, 20000)
	for i := range many {
		many[i] = fmt.Sprintf("some-key-of-a-usual-length-%06d", i)
	}
	return map[string]string{
		"largest":               set("set", "k", 0, limit-1) + "get k\r\n",
		"too large":             set("set", "k", 0, limit),
		"largest with flags":    set("set", "k", 9, limit-5),
		"too large with flags":  set("set", "k", 9, limit-4),
		"largest, long key":     set("set", long, 0, limit-250),
		"too large, long key":   set("set", long, 0, limit-249),
		"set deletes":           set("set", "k", 0, 1) + set("set", "k", 0, 2<<20) + "get k\r\n",
		"add does not delete":   set("set", "k", 0, 1) + set("add", "k", 0, 2<<20) + "get k\r\n",
		"cas does not delete":   set("set", "k", 0, 1) + "cas k 0 0 1048576 1\r\n" + strings.Repeat("v", 1<<20) + "\r\nget k\r\n",
		"noreply":               set("set", "k", 0, 1) + "set k 0 0 1048576 noreply\r\n" + strings.Repeat("v", 1<<20) + "\r\nget k\r\n",
		"append to the limit":   set("set", "k", 7, 600000) + set("append", "k", 0, limit-5-600000),
		"append over the limit": set("set", "k", 7, 600000) + set("append", "k", 0, limit-4-600000) + "delete k\r\n",
		"prepend over":          set("set", "k", 0, 600000) + set("prepend", "k", 0, 600000) + "delete k\r\n",
		"bad end":               "set k 0 0 700000\r\n" + strings.Repeat("v", 700002) + "version\r\n",
		"ms too large":          set("set", "k", 0, 1) + "ms k 1048576 q k\r\n" + strings.Repeat("v", 1<<20) + "\r\nmg k v\r\n",
		"add too large, by ms":  set("set", "k", 0, 1) + "ms k 1048576 ME F1 O1\r\n" + strings.Repeat("v", 1<<20) + "\r\nmg k v\r\n",
		"largest by ms":         fmt.Sprintf("ms k %d F1\r\n%s\r\nme k\r\n", limit-5, strings.Repeat("v", limit-5)),
		"classes":               classes(),
		"not a number":          "set k 0 0 600000\r\n5 " + strings.Repeat("v", 600000-2) + "\r\nincr k 1\r\n",
		"many keys":             set("set", many[77], 0, 3) + "get " + strings.Join(many, " ") + "\r\n",
		"line beyond 16 KiB":    strings.Repeat("x", 20000) + "\r\n",
		"line of 2049":          "set " + strings.Repeat("x", 2045),
		"100 spaces":            strings.Repeat(" ", 100) + "get" + strings.Repeat(" a", 20000) + "\r\n",
		"101 spaces":            strings.Repeat(" ", 101) + "get" + strings.Repeat(" a", 20000) + "\r\n",
	}
}

// classes asks for the slab class of items of all sizes.
func classes() string {
	var script strings.Builder
	for n := 1; n < 1<<20; n += 1 + n/20 {
		fmt.Fprintf(&script, "ms k %d\r\n%s\r\nme k\r\n", n, strings.Repeat("v", n))
	}
	return script.String()
}

// TestLargeOnBoth compares ours with the real server where values and lines are
// about as large as they may be.
func TestLargeOnBoth(t *testing.T) {
	oracle, ours := startReal(t), dialTCP(serveTCP(t, nil))
	for name, script := range largeScripts() {
		t.Run(name, func(t *testing.T) {
			script := "flush_all\r\n" + script
			if strings.HasSuffix(script, "\r\n") {
				script += "quit\r\n"
			}
			if strings.Contains(script, "ms k") {
				oracle.mustBeOurs(t)
			}
			want, got := oracle.asOurs(exchange(t, oracle.dial(t), script)), exchange(t, ours(t), script)
			if diff := cmp.Diff(want, got); diff != "" {
				t.Errorf("(-real +ours):\n%.2000s", diff)
			}
		})
	}
}

// talk is a connection in a bubble.
func talk(t *testing.T, dial dialer) func(text string) string {
	t.Helper()
	c := collect(dial(t))
	t.Cleanup(c.Close)
	return func(text string) string {
		t.Helper()
		_, _ = io.WriteString(c, text)
		synctest.Wait()
		answer, closed := c.take()
		if closed {
			answer += "(closed)"
		}
		return answer
	}
}

func expect(t *testing.T, got, want string) {
	t.Helper()
	if got != want {
		t.Errorf("got %.300q, want %.300q", got, want)
	}
}

func TestLongLines(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		_, dial := startOurs(t, nil)
		say := talk(t, dial)
		expect(t, say(strings.Repeat("x", 2048)), "")
		expect(t, say("x"), "(closed)")

		const mib = 1 << 20
		keys := func(n int) string { return strings.Repeat(strings.Repeat("k", 249)+" ", n/250) }
		say = talk(t, dial)
		expect(t, say("get "+keys(2*mib)), "")
		expect(t, say("\r\nversion\r\n"), "END\r\nVERSION 1.6.18\r\n")
		expect(t, say("gets "+keys(2*mib)+"\r\nget"), "END\r\n")
		expect(t, say(" k\r\n"), "END\r\n")
		expect(t, say("get "+keys(4*mib+1000)), "SERVER_ERROR out of memory reading request\r\n(closed)")
	})
}

// Lines that don't end are bounded together, and free again when they end.
func TestUnfinishedLinesAreBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		_, dial := startOurs(t, &memcached.Options{MaxBytes: 64 << 10})
		line := "get " + strings.Repeat("k ", 24<<10)
		first := talk(t, dial)
		expect(t, first(line), "")
		expect(t, talk(t, dial)(line), "SERVER_ERROR out of memory reading request\r\n(closed)")
		expect(t, first("\r\nversion\r\n"), "END\r\nVERSION 1.6.18\r\n")
		expect(t, talk(t, dial)(line), "")
	})
}

// Clients that announce values and never finish them hold at most MaxBytes
// together; what they held is free again when they are gone.
func TestUnfinishedValuesAreBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, dial := startOurs(t, &memcached.Options{MaxBytes: 2 << 20})
		const size = 1000000
		half := strings.Repeat("v", size*9/10)
		rest := strings.Repeat("v", size-len(half))
		begin := fmt.Sprintf("set k 0 0 %d\r\n%s", size, half)

		first, second := collect(dial(t)), talk(t, dial)
		_, _ = io.WriteString(first, begin)
		expect(t, second(begin), "")

		third := talk(t, dial)
		expect(t, third("set k 0 0 1\r\nx\r\n"), "STORED\r\n")
		expect(t, third(begin), "")
		expect(t, third(rest+"\r\nget k\r\n"), "SERVER_ERROR out of memory storing object\r\nEND\r\n")
		if got := s.Stats().NoMemory; got != 1 {
			t.Errorf("NoMemory is %d, want 1", got)
		}

		first.Close()
		synctest.Wait()
		expect(t, third(begin+rest+"\r\n"), "STORED\r\n")
		expect(t, second(rest+"\r\n"), "STORED\r\n")
		expect(t, second(begin+rest+"\r\n"), "STORED\r\n")
	})
}

func TestMaxConns(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, dial := startOurs(t, &memcached.Options{MaxConns: 2})
		first, second := collect(dial(t)), talk(t, dial)
		expect(t, second("version\r\n"), "VERSION 1.6.18\r\n")
		expect(t, talk(t, dial)(""), "ERROR Too many open connections\r\n(closed)")
		first.Close()
		synctest.Wait()
		expect(t, talk(t, dial)("version\r\n"), "VERSION 1.6.18\r\n")
		st := s.Stats()
		if st.Conns != 2 || st.TotalConns != 3 || st.RejectedConns != 1 {
			t.Errorf("%d connections, %d in all, %d rejected; want 2, 3, 1", st.Conns, st.TotalConns, st.RejectedConns)
		}
	})
}

// A client that sends and never reads is waited for by nobody but itself.
func TestClientThatNeverReads(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		_, dial := startOurs(t, nil)
		say := talk(t, dial)
		expect(t, say("set k 0 0 1000000\r\n"+strings.Repeat("v", 1000000)+"\r\n"), "STORED\r\n")
		deaf := dial(t)
		defer deaf.Close()
		_, _ = io.WriteString(deaf, "get"+strings.Repeat(" k", 4)+"\r\n")
		synctest.Wait()
		expect(t, say("delete k\r\nget k\r\n"), "DELETED\r\nEND\r\n")
	})
}

func TestClose(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, dial := startOurs(t, nil)
		say := talk(t, dial)
		expect(t, say("set k 0 0 10\r\nhalf"), "")
		stuck := dial(t)
		defer stuck.Close()
		_, _ = io.WriteString(stuck, "get")
		synctest.Wait()
		for range 2 {
			if err := s.Close(); err != nil {
				t.Error(err)
			}
		}
		expect(t, say(""), "(closed)")
		if n := s.Stats().Conns; n != 0 {
			t.Errorf("%d connections after Close", n)
		}
		l := &brokenListener{closed: make(chan struct{})}
		if err := s.Serve(l); err != nil {
			t.Errorf("Serve after Close: %v", err)
		}
		select {
		case <-l.closed:
		default:
			t.Error("Serve after Close left its listener open")
		}
	})
}

// A brokenListener fails with the given errors, then waits for Close.
type brokenListener struct {
	errs   []error
	closed chan struct{}
	once   sync.Once
}

func (l *brokenListener) Accept() (net.Conn, error) {
	if len(l.errs) > 0 {
		err := l.errs[0]
		l.errs = l.errs[1:]
		return nil, err
	}
	<-l.closed
	return nil, net.ErrClosed
}

func (l *brokenListener) Close() error {
	l.once.Do(func() { close(l.closed) })
	return nil
}

func (l *brokenListener) Addr() net.Addr { return &net.TCPAddr{Port: 11211} }

func TestAcceptErrors(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, err := memcached.New(nil)
		if err != nil {
			t.Fatal(err)
		}
		defer s.Close()

		start := time.Now()
		broken := fmt.Errorf("broken for good")
		err = s.Serve(&brokenListener{errs: []error{errShortage, errShortage, broken}, closed: make(chan struct{})})
		if err == nil || !strings.Contains(err.Error(), "broken for good") || !strings.Contains(err.Error(), "11211") {
			t.Errorf("Serve: %v; want the listener's error and address", err)
		}
		if waited := time.Since(start); waited != 15*time.Millisecond {
			t.Errorf("waited %v between attempts, want 5 ms + 10 ms", waited)
		}

		served := make(chan error)
		go func() {
			served <- s.Serve(&brokenListener{errs: []error{errShortage}, closed: make(chan struct{})})
		}()
		synctest.Wait()
		if err := s.Close(); err != nil {
			t.Error(err)
		}
		if err := <-served; err != nil {
			t.Errorf("Serve: %v after Close", err)
		}
	})
}

func TestOptions(t *testing.T) {
	for _, test := range []struct {
		name string
		o    memcached.Options
		want string // in the error; "" is none
	}{
		{"zero", memcached.Options{}, ""},
		{"smallest", memcached.Options{MaxBytes: 2048, MaxItemBytes: 1024, MaxConns: 1}, ""},
		{"item limit follows", memcached.Options{MaxBytes: 4096}, ""},
		{"negative bytes", memcached.Options{MaxBytes: -1}, "MaxBytes is -1"},
		{"few bytes", memcached.Options{MaxBytes: 2047}, "MaxBytes is 2047"},
		{"negative item", memcached.Options{MaxItemBytes: -1}, "MaxItemBytes is -1"},
		{"small item", memcached.Options{MaxItemBytes: 1023}, "MaxItemBytes is 1023"},
		{"item over half", memcached.Options{MaxBytes: 1 << 20, MaxItemBytes: 1<<19 + 1}, "at most half of MaxBytes, which is 1048576"},
		{"huge item", memcached.Options{MaxBytes: 8 << 30, MaxItemBytes: 1<<30 + 1}, "MaxItemBytes is 1073741825"},
		{"negative conns", memcached.Options{MaxConns: -5}, "MaxConns is -5"},
	} {
		t.Run(test.name, func(t *testing.T) {
			s, err := memcached.New(&test.o)
			if test.want == "" {
				if err != nil {
					t.Fatal(err)
				}
				if err := s.Close(); err != nil {
					t.Error(err)
				}
				return
			}
			if err == nil || !strings.Contains(err.Error(), test.want) {
				t.Errorf("error %v, want one with %q", err, test.want)
			}
		})
	}
}
