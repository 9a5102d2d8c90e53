package queues

import (
	"fmt"
	"io"
)

// Write puts changes into words for people, a line for each queue and field.
func Write(w io.Writer, changes []Change) {
	for _, c := range changes {
		fmt.Fprintf(w, "%s %s: %s\n", c.sign(), c.Queue, c.words())
		for _, f := range c.Fields {
			if c.Action == Create {
				fmt.Fprintf(w, "    %s: %s\n", f.Field, f.New)
			} else {
				fmt.Fprintf(w, "    %s: %s -> %s\n", f.Field, f.Old, f.New)
			}
		}
	}
}

func (c Change) sign() string {
	switch c.Action {
	case Create:
		return "+"
	case Omitted, Conflict:
		return "!"
	default:
		return "~"
	}
}

func (c Change) words() string {
	if c.Why == "" {
		return string(c.Action)
	}
	return string(c.Action) + ": " + c.Why
}
