package memcached

import (
	"bytes"
	"encoding/base64"
	"slices"
	"strings"
	"testing"
)

// FuzzMeta reads arbitrary flags. What is accepted has known letters, each once,
// and tokens as the protocol has them; and each command answers within its line
// and changes nothing that it holds of the input.
func FuzzMeta(f *testing.F) {
	for _, line := range []string{
		"a s t c f l h k O1 u q v", "a N100 R-1 T0 v t", "YWJj b k Oopaque", "Y!W.Jj b k", "YWI b", "==== b", "a C1 F5 I MS",
		"n N0 J13 D7 MD v c t q", "a Mxx Tx Fx", "a s s", "a \x7f", "a \xff", "a 1", "a O12345678901234567890123456789012",
		"a T9223372036854775808 N\t1 R1x", strings.Repeat("k", 250) + " k v s",
	} {
		f.Add([]byte(line))
	}
	f.Fuzz(func(t *testing.T, line []byte) {
		if bytes.IndexByte(line, 0) >= 0 || bytes.IndexByte(line, '\n') >= 0 {
			return
		}
		words := bytes.Fields(line)
		if len(words) == 0 || len(words) > maxMetaWords || len(words[0]) > maxKeyBytes {
			return
		}
		sent := string(words[0])
		var m metaCommand
		fault := m.parse(words[0], words[1:])
		letters := map[byte]bool{}
		wellFormed := true
		for _, w := range words[1:] {
			wellFormed = wellFormed && strings.IndexByte(metaLetters, w[0]) >= 0 && !letters[w[0]]
			letters[w[0]] = true
		}
		if fault == "" && !wellFormed {
			t.Fatalf("%q is accepted", line)
		}
		if fault != "" && !strings.HasPrefix(fault, "CLIENT_ERROR ") {
			t.Fatalf("%q: fault %q", line, fault)
		}
		if fault != "" {
			return
		}
		if strict, err := base64.StdEncoding.DecodeString(sent); m.has('b') && err == nil && len(strict) > 0 && !bytes.Equal(m.key, strict) {
			t.Errorf("key %q is %q, want %q", sent, m.key, strict)
		}
		if len(m.key) == 0 || len(m.key) > maxKeyBytes || !m.has('b') && string(m.key) != sent {
			t.Errorf("key %q is %q", sent, m.key)
		}

		c := newCache(&Options{MaxBytes: 1 << 20, MaxItemBytes: 1 << 10})
		c.store(modeSet, candidate{key: m.key, value: []byte("9\r\n"), flags: 1<<32 - 1, marks: m.marks(), expire: c.deadline(m.ttl)})
		before := string(bytes.Join(slices.Concat([][]byte{m.key}, m.flags), []byte(" ")))
		for _, a := range []metaAnswer{
			c.metaGet(&m, make([]byte, 0, metaLineBytes)),
			c.metaDelta(&m, delta{by: m.delta, cas: m.cas}, make([]byte, 0, metaLineBytes)),
			m.echo(make([]byte, 0, metaLineBytes), c.metaDelete(&m)),
			{line: c.metaDebug(m.key, make([]byte, 0, metaLineBytes))},
		} {
			if cap(a.line) > metaLineBytes {
				t.Errorf("%q: an answer of %d bytes", line, len(a.line))
			}
		}
		if after := string(bytes.Join(slices.Concat([][]byte{m.key}, m.flags), []byte(" "))); after != before {
			t.Errorf("%q was changed to %q", before, after)
		}
	})
}
