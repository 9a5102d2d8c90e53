package watch

import (
	"bytes"
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"
	"time"
)

// A change is handed over; what isn't accepted, and a file that is gone, change
// nothing and are logged once.
func TestChanges(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		path := filepath.Join(t.TempDir(), "x.yaml")
		at := time.Now()
		write := func(text string) {
			t.Helper()
			if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
				t.Fatal(err)
			}
			at = at.Add(time.Second) // however coarse the file system's clock is
			if err := os.Chtimes(path, at, at); err != nil {
				t.Fatal(err)
			}
		}
		var accepted []string
		var log bytes.Buffer
		write("one")
		f, err := Open(path, &Options{Name: "x.yaml", Limit: 10, Logger: slog.New(slog.NewTextHandler(&log, nil))}, func(text []byte) error {
			if string(text) == "bad" {
				return errors.New("line 1: bad")
			}
			accepted = append(accepted, string(text))
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
		pass := func(n int) {
			time.Sleep(time.Duration(n) * interval)
			synctest.Wait()
		}
		pass(5)
		write("two")
		pass(2)
		write("bad")
		pass(5)
		write("much too long")
		pass(2)
		if err := os.Remove(path); err != nil {
			t.Fatal(err)
		}
		pass(5)
		write("two")
		pass(2)
		f.Close()
		f.Close()
		write("three")
		pass(5)
		if want := []string{"one", "two", "two"}; !slices.Equal(accepted, want) {
			t.Errorf("accepted %q, want %q", accepted, want)
		}
		for text, want := range map[string]int{
			"line 1: bad": 1, "longer than 10 bytes": 1, "no such file": 1, "x.yaml is in order again": 1, "level=ERROR": 3,
		} {
			if n := strings.Count(log.String(), text); n != want {
				t.Errorf("the log says %q %d times, want %d:\n%s", text, n, want, &log)
			}
		}
	})
}

// At the start nothing is forgiven.
func TestOpen(t *testing.T) {
	accept := func(text []byte) error { return errors.New("line 7: no") }
	dir := t.TempDir()
	file := filepath.Join(dir, "x")
	if err := os.WriteFile(file, []byte("text"), 0o600); err != nil {
		t.Fatal(err)
	}
	pipe := filepath.Join(dir, "pipe") // nobody writes to it
	if err := syscall.Mkfifo(pipe, 0o600); err != nil {
		t.Fatal(err)
	}
	for path, want := range map[string]string{file: file + ": line 7: no", dir: "is not a file", pipe: "is not a file", filepath.Join(dir, "none"): "no such file"} {
		if _, err := Open(path, nil, accept); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("Open(%s): %v, want %s", path, err, want)
		}
	}
	(*File)(nil).Close()
}
