package memcached_test

import (
	"io"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"

	"github.com/latchwork/latchwork/emulator/memcached"
)

// FuzzProtocol sends arbitrary bytes, at once and in two pieces. Neither may
// stop the server or leave anything behind, and how the network cuts a stream
// changes no answer. (It changes how much of them goes out before a
// connection is dropped.)
func FuzzProtocol(f *testing.F) {
	names, err := filepath.Glob("testdata/*.txt")
	if err != nil {
		f.Fatal(err)
	}
	for _, name := range names {
		for _, b := range readTranscript(f, name) {
			var stream strings.Builder
			for _, line := range b.input {
				if !strings.HasPrefix(line, "@") {
					stream.WriteString(data(f, line))
				}
			}
			f.Add([]byte(stream.String()), uint16(stream.Len()/2))
		}
	}
	f.Add([]byte("set k 0 0 8000\r\n"+strings.Repeat("v", 8000)+"\r\nget k\r\n"), uint16(5000))
	f.Add([]byte("\x80\x0b\x00\x00"), uint16(1))
	f.Fuzz(func(t *testing.T, stream []byte, cut uint16) {
		split := min(int(cut), len(stream))
		var answers [2]string
		for i, pieces := range [2][][]byte{{stream}, {stream[:split], stream[split:]}} {
			synctest.Test(t, func(t *testing.T) {
				s, dial := startOurs(t, &memcached.Options{MaxBytes: 256 << 10})
				c := collect(dial(t))
				defer c.Close()
				for _, piece := range pieces {
					_, _ = c.Write(piece)
					synctest.Wait()
				}
				var closed bool
				answers[i], closed = c.take()

				other := collect(dial(t))
				defer other.Close()
				_, _ = io.WriteString(other, "version\r\n")
				synctest.Wait()
				if got, _ := other.take(); got != "VERSION "+memcached.Version+"\r\n" {
					t.Errorf("after %q another client reads %q", stream, got)
				}
				st := s.Stats()
				if st.Bytes > 256<<10 || closed && st.Conns != 1 {
					t.Errorf("after %q: %+v", stream, st)
				}
			})
		}
		if !strings.HasPrefix(answers[1], answers[0]) {
			t.Errorf("%q cut at %d: the answer is %q, and %q in one piece", stream, split, answers[1], answers[0])
		}
	})
}
