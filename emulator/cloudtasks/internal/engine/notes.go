package engine

import (
	"fmt"
	"maps"
	"slices"
)

// Bounds of what adapters keep here.
const (
	maxNotes     = 10_000
	maxNoteBytes = 64 << 20 // of all notes
	maxNote      = 32 << 20 // of one
	maxFactBytes = 16 << 20 // of all facts
)

// A Note is something to remember for a while, such as the answer to a request
// that may be repeated: until so many others came after it that they would be
// more than ten thousand or 64 MB.
type Note struct {
	Key   string
	Value []byte // not to be changed afterwards
}

func (n Note) size() int { return len(n.Key) + len(n.Value) }

func (n Note) check() error {
	if n.size() > maxNote {
		return fmt.Errorf("note of %d bytes: must be at most %d", n.size(), maxNote)
	}
	return nil
}

// notes are in the order of their making.
type notes struct {
	byKey map[string]*Note
	line  []*Note
	head  int // those before it have left
	bytes int
}

// put adds a note, in place of one with the same key.
func (n *notes) put(note Note) {
	if n.byKey == nil {
		n.byKey = make(map[string]*Note)
	}
	n.byKey[note.Key] = &note
	n.line = append(n.line, &note)
	n.bytes += note.size()
	for len(n.line)-n.head > maxNotes || n.bytes > maxNoteBytes {
		first := n.line[n.head]
		n.line[n.head] = nil
		n.head++
		n.bytes -= first.size()
		if n.byKey[first.Key] == first {
			delete(n.byKey, first.Key)
		}
	}
	if n.head > 1024 && n.head > len(n.line)/2 {
		n.line = slices.Clone(n.line[n.head:])
		n.head = 0
	}
}

func (n *notes) all() []*Note { return slices.Clone(n.line[n.head:]) }

// Remember makes notes.
func (e *Engine) Remember(notes ...Note) error {
	e.mu.Lock()
	if e.closed {
		e.mu.Unlock()
		return ErrClosed
	}
	wait, err := e.group(func() ([]Note, error) { return notes, nil }, func(b []byte) []byte { return b })
	e.mu.Unlock()
	if err != nil {
		return err
	}
	return wait()
}

// Recall returns the value of a note, which is not to be changed.
func (e *Engine) Recall(key string) (value []byte, ok bool) {
	e.mu.Lock()
	defer e.mu.Unlock()
	n, ok := e.notes.byKey[key]
	if !ok {
		return nil, false
	}
	return n.Value, true
}

// facts are kept until they are changed.
type facts struct {
	byKey map[string][]byte
	bytes int
}

func (f *facts) put(n Note) {
	if f.byKey == nil {
		f.byKey = make(map[string][]byte)
	}
	if old, ok := f.byKey[n.Key]; ok {
		f.bytes -= len(n.Key) + len(old)
		delete(f.byKey, n.Key)
	}
	if len(n.Value) > 0 {
		f.byKey[n.Key] = n.Value
		f.bytes += n.size()
	}
}

func (f *facts) all() map[string][]byte { return maps.Clone(f.byKey) }

// Keep keeps something small under a key for as long as it isn't changed; an
// empty value removes it. All keys and values together are at most 16 MB, else
// the error is ErrTooMuchKept.
func (e *Engine) Keep(key string, value []byte) error {
	n := Note{key, value}
	e.mu.Lock()
	if e.closed {
		e.mu.Unlock()
		return ErrClosed
	}
	if len(value) > 0 && e.facts.bytes+n.size() > maxFactBytes {
		e.mu.Unlock()
		return ErrTooMuchKept
	}
	synced, err := e.write(func(b []byte) []byte { return appendFact(b, n) })
	if err != nil {
		e.mu.Unlock()
		return err
	}
	e.facts.put(n)
	e.mu.Unlock()
	return synced.Wait()
}

// Kept returns what is kept under a key, which is not to be changed; nil is
// nothing.
func (e *Engine) Kept(key string) []byte {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.facts.byKey[key]
}
