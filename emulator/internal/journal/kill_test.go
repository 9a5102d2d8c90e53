package journal

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
)

const childDir = "LATCHWORK_JOURNAL_TEST_DIR"

// TestMain makes the test binary the process that gets killed.
func TestMain(m *testing.M) {
	if dir := os.Getenv(childDir); dir != "" {
		child(dir, os.Stdout)
		return
	}
	os.Exit(m.Run())
}

// child appends for ever, with checkpoints, and tells what was acknowledged.
func child(dir string, out io.Writer) {
	n := 0
	j, err := Open(dir, nil, func(r []byte) (err error) {
		if n, err = strconv.Atoi(string(r)); err == nil {
			n++
		}
		return err
	})
	if err != nil {
		fmt.Fprintln(out, err)
		return
	}
	for ; ; n++ {
		if _, err := j.Append(strconv.AppendInt(nil, int64(n), 10)); err != nil {
			fmt.Fprintln(out, err)
			return
		}
		if n%100 == 99 { // the state is the last number
			c, err := j.Rotate()
			if err == nil {
				if err = c.Write(strconv.AppendInt(nil, int64(n), 10)); err == nil {
					err = c.Commit()
				}
			}
			if err != nil {
				fmt.Fprintln(out, err)
				return
			}
		}
		fmt.Fprintln(out, n)
	}
}

// A process that is killed -9 in the midst of appends and checkpoints, again and
// again, loses nothing that it had acknowledged; while it lives, the folder is its own.
func TestKilledProcessLosesNothing(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "data")
	last := -1
	for round := range 5 {
		cmd := exec.CommandContext(t.Context(), os.Args[0])
		cmd.Env = append(os.Environ(), childDir+"="+dir)
		out, err := cmd.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		lines := bufio.NewScanner(out)
		for i := 0; i < 137*(round+1) && lines.Scan(); i++ {
			n, err := strconv.Atoi(lines.Text())
			if err != nil || n != last+1 {
				t.Fatalf("round %d: the process said %q after %d", round, lines.Text(), last)
			}
			last = n
		}
		if round == 0 {
			if _, _, err := tryOpen(dir, nil); !errors.Is(err, ErrInUse) || !strings.Contains(err.Error(), dir) {
				t.Errorf("a second process: %v, want ErrInUse and the folder", err)
			}
		}
		cmd.Process.Kill()
		for lines.Scan() { // acknowledged before the kill, read after it
			if n, err := strconv.Atoi(lines.Text()); err == nil && n == last+1 {
				last = n
			}
		}
		io.Copy(io.Discard, out)
		cmd.Wait()

		j, got := open(t, dir, nil)
		closeNow(t, j)
		if len(got) == 0 {
			t.Fatalf("round %d: %d was acknowledged, nothing is there", round, last)
		}
		for i := 1; i < len(got); i++ {
			if a, b := number(t, got[i-1]), number(t, got[i]); b != a+1 {
				t.Fatalf("round %d: %d follows %d", round, b, a)
			}
		}
		end := number(t, got[len(got)-1])
		if end < last || end > last+1 { // the last one may have been written and not said
			t.Fatalf("round %d: the journal ends with %d, acknowledged was %d", round, end, last)
		}
		last = end
	}
}

func number(t *testing.T, s string) int {
	t.Helper()
	n, err := strconv.Atoi(s)
	if err != nil {
		t.Fatal(err)
	}
	return n
}
