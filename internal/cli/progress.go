package cli

import (
	"fmt"
	"io"
	"os"
	"strings"
)

// bar is a progress bar: redrawn in place on a terminal, elsewhere one line for
// each tenth.
type bar struct {
	out        io.Writer
	live       bool
	all, width int
	shown      int // the last state on the screen, plus one
}

func (b *bar) show(done int) {
	state := done
	if !b.live {
		state = 10 * done / b.all
	}
	if b.shown == state+1 {
		return
	}
	b.shown = state + 1
	filled := b.width * min(done, b.all) / b.all
	line := fmt.Sprintf("[%s%s] %d/%d answered", strings.Repeat("█", filled), strings.Repeat("░", b.width-filled), done, b.all)
	if b.live {
		fmt.Fprint(b.out, "\r"+line)
	} else {
		fmt.Fprintln(b.out, line)
	}
}

func (b *bar) end() {
	if b.live {
		fmt.Fprintln(b.out)
	}
	fmt.Fprintln(b.out)
}

func isTerminal(w io.Writer) bool {
	f, ok := w.(*os.File)
	if !ok {
		return false
	}
	info, err := f.Stat()
	return err == nil && info.Mode()&os.ModeCharDevice != 0
}
