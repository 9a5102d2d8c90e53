package memlock

import (
	"strings"
	"testing"
)

func FuzzStoredKey(f *testing.F) {
	for _, key := range []string{"", "k", "a b", "a\r\n", "\x7f", "日本", "\xff", strings.Repeat("k", 242), strings.Repeat("k", 243), strings.Repeat("k", 10_000)} {
		f.Add("memlock:", key)
		f.Add(strings.Repeat("p", maxPrefixLen), key)
	}
	f.Fuzz(func(t *testing.T, prefix, key string) {
		if checkBytes(prefix) != nil || len(prefix) > maxPrefixLen {
			t.Skip("not a prefix")
		}
		got, err := storedKey(prefix, key)
		legal := key != "" && !strings.ContainsFunc(key, func(r rune) bool { return r <= ' ' || r == 0x7f })
		if (err == nil) != legal {
			t.Fatalf("storedKey(%q, %q) = %q, %v", prefix, key, got, err)
		}
		if err != nil {
			if len(err.Error()) > 4*maxQuoteLen+200 {
				t.Errorf("an error of %d bytes", len(err.Error()))
			}
			return
		}
		if err := checkStoredKey(got); err != nil {
			t.Errorf("storedKey(%q, %q) = %q, which a store refuses: %v", prefix, key, got, err)
		}
		if !strings.HasPrefix(got, prefix) {
			t.Errorf("storedKey(%q, %q) = %q, without the prefix", prefix, key, got)
		}
		if len(prefix)+len(key) <= maxKeyLen && got != prefix+key {
			t.Errorf("storedKey(%q, %q) = %q, though it fits", prefix, key, got)
		}
	})
}

func FuzzClientOf(f *testing.F) {
	for _, id := range []string{"client", "a~b", "~0123456789abcdef", "a~0123456789abcdef", "?", "日本"} {
		f.Add(id)
	}
	l, same := New(nil, nil), New(nil, &Options{Reentrant: true})
	f.Fuzz(func(t *testing.T, id string) {
		if id == "" {
			t.Skip("refused before")
		}
		if got := clientOf(l.owner(id)); got != id {
			t.Errorf("the client of %q is %q, want %q", l.owner(id), got, id)
		}
		if first, second := l.owner(id), l.owner(id); first == second {
			t.Errorf("two owners for %q are one", id)
		}
		if got := same.owner(id); got != id {
			t.Errorf("reentrant: the owner for %q is %q, want the ID itself", id, got)
		}
	})
}
