package engine

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"testing"
	"unsafe"
)

// Whatever came before, a spec comes back as it was.
func FuzzPack(f *testing.F) {
	f.Add([]byte("POST https://worker.example/tasks/email {\"user\": 1}"), []byte("POST https://worker.example/tasks/email {\"user\": 22}"))
	f.Add([]byte{}, bytes.Repeat([]byte{0}, 300))
	f.Add(bytes.Repeat([]byte("ab"), 100), bytes.Repeat([]byte("ba"), 100))
	f.Fuzz(func(t *testing.T, a, b []byte) {
		var s samples
		specs := [][]byte{a, b, a, append(bytes.Clone(b), a...), append(bytes.Clone(a), b...)}
		var packed []string
		for range poorResults {
			for _, spec := range specs {
				packed = append(packed, string(s.pack(nil, spec)))
			}
		}
		for i, p := range packed {
			want := specs[i%len(specs)]
			if got := s.unpack(nil, p); !bytes.Equal(got, want) || unpackedLen(p) != len(want) {
				t.Fatalf("%q came back as %q", want, got)
			}
			if len(p) > len(want)+1 {
				t.Fatalf("%d bytes were packed into %d", len(want), len(p))
			}
		}
	})
}

func TestSpecsThatAreAlikeArePacked(t *testing.T) {
	var s samples
	spec := func(kind string, i int) []byte {
		return fmt.Appendf(nil, "\n\x20http://worker.example/tasks/%s\x10\x01\x1a\x20\n\x0cContent-Type\x12\x10application/json\"\x50{%q:%d,\"state\":\"new\"}", kind, kind, i)
	}
	raw, packed := 0, 0
	for i := range 1000 {
		kind := "email"
		if i > 500 {
			kind = "a-very-different-thing-to-do"
		}
		b := spec(kind, i)
		raw += len(b)
		packed += len(s.pack(nil, b))
	}
	if packed > raw*2/5 {
		t.Errorf("%d bytes were packed into %d", raw, packed)
	}
	random := rand.New(rand.NewPCG(1, 2))
	for range 100_000 { // of which nothing is alike
		b := make([]byte, 100)
		for i := range b {
			b[i] = byte(random.Uint32())
		}
		s.pack(nil, b)
	}
	if len(s.all) > maxSamples {
		t.Errorf("%d samples", len(s.all))
	}
	if p := s.pack(nil, make([]byte, maxSample+1)); p[0] != 0 || len(p) != maxSample+2 {
		t.Errorf("a long spec was packed into %d bytes", len(p))
	}
}

func TestTasksAreSmall(t *testing.T) {
	if n := unsafe.Sizeof(task{}); n > 64 {
		t.Errorf("a task takes %d bytes", n)
	}
}
