package doctor

import (
	"bytes"
	"io"
	"strings"
	"testing"
	"testing/iotest"
)

// A peer has said all that it will say.
type peer struct {
	io.Reader
	heard bytes.Buffer
}

func (p *peer) Write(b []byte) (int, error) { return p.heard.Write(b) }

const healthy = "VERSION 1.6.18\r\nSTORED\r\nVALUE k 0 2\r\nok\r\nEND\r\nDELETED\r\nSTAT pid 1\r\nSTAT evictions 0\r\nEND\r\n"

func TestTalk(t *testing.T) {
	for _, test := range []struct {
		name, answers, err string
		seen               server
	}{
		{"healthy", healthy, "", server{version: "1.6.18"}},
		{"evictions", strings.Replace(healthy, "evictions 0", "evictions 12", 1), "", server{"1.6.18", 12}},
		{"says nothing", "", "EOF", server{}},
		{"something else", "HTTP/1.1 400 Bad Request\r\n", "is that memcached?", server{}},
		{"read only", "VERSION 1\r\nSERVER_ERROR out of memory storing object\r\n", `it answers "SERVER_ERROR out of memory storing object" to set, want STORED`, server{version: "1"}},
		{"forgetful", "VERSION 1\r\nSTORED\r\nEND\r\n", `it answers "END" to get`, server{version: "1"}},
		{"another value", strings.Replace(healthy, "ok", "no", 1), `it answers "no", want ok`, server{version: "1.6.18"}},
		{"cut off", healthy[:len(healthy)-10], "EOF", server{version: "1.6.18"}},
		{"no number", strings.Replace(healthy, "evictions 0", "evictions x", 1), `evictions are "x"`, server{version: "1.6.18"}},
		{"a long line", "VERSION " + strings.Repeat("1", maxLine), "longer than", server{}},
		{"endless", strings.TrimSuffix(healthy, "END\r\n") + strings.Repeat("STAT x 1\r\n", maxStats+1), "over 1000 lines", server{version: "1.6.18"}},
	} {
		t.Run(test.name, func(t *testing.T) {
			seen, err := talk(&peer{Reader: iotest.OneByteReader(strings.NewReader(test.answers))}, "k")
			if (err == nil) != (test.err == "") || err != nil && !strings.Contains(err.Error(), test.err) {
				t.Errorf("error %v, want %q", err, test.err)
			}
			if !strings.HasPrefix(seen.version, test.seen.version) || seen.evictions != test.seen.evictions {
				t.Errorf("seen %+v, want %+v", seen, test.seen)
			}
		})
	}
}

// A server may say anything.
func FuzzTalk(f *testing.F) {
	f.Add([]byte(healthy))
	f.Add([]byte("VERSION \r\nSTORED\r\nVALUE k 0 2\r\n"))
	f.Add([]byte("\n\n\n"))
	f.Fuzz(func(t *testing.T, answers []byte) {
		p := &peer{Reader: bytes.NewReader(answers)}
		seen, err := talk(p, "k")
		if err == nil && (!bytes.HasPrefix(answers, []byte("VERSION ")) || strings.ContainsAny(seen.version, "\n")) {
			t.Errorf("%q is taken for memcached: %+v", answers, seen)
		}
		if err != nil && len(err.Error()) > 10*maxLine {
			t.Errorf("an error of %d bytes", len(err.Error()))
		}
		if n := strings.Count(p.heard.String(), "\n"); n > 6 {
			t.Errorf("it heard %d lines", n)
		}
	})
}
