package export

import (
	"errors"
	"fmt"
	"io"
	"iter"
	"os"
	"path"
	"slices"
	"strings"

	pb "cloud.google.com/go/datastore/apiv1/datastorepb"
)

// An Export is one that can be read.
type Export struct {
	Parts []Part

	root *os.Root
	dir  string
}

// Open reads all metadata of an export, beginning with the overall one, and
// checks that the outputs are there.
func Open(root *os.Root, file string) (*Export, error) {
	x := &Export{root: root, dir: path.Dir(file)}
	overall, err := x.open(path.Base(file))
	if err != nil {
		return nil, err
	}
	defer overall.Close()
	parts, offset, err := readOverall(overall)
	if err != nil {
		return nil, &DamageError{File: path.Base(file), Offset: offset, Reason: err}
	}
	for i := range parts {
		if err := x.readPart(&parts[i]); err != nil {
			return nil, err
		}
	}
	x.Parts = parts
	return x, nil
}

func (x *Export) readPart(p *Part) error {
	r, err := x.open(p.file)
	if err != nil {
		return err
	}
	defer r.Close()
	message, err := io.ReadAll(io.LimitReader(r, maxMetadata+1))
	if err != nil {
		return err
	}
	if len(message) > maxMetadata {
		return &DamageError{File: p.file, Reason: fmt.Errorf("metadata over %d bytes", maxMetadata)}
	}
	if p.outputs, err = readOutputs(message, p.file); err != nil {
		return &DamageError{File: p.file, Reason: err}
	}
	for _, output := range p.outputs {
		r, err := x.open(output)
		if err != nil {
			return err
		}
		r.Close()
	}
	return nil
}

// open opens a file of the export, and only a file: anything else might block.
func (x *Export) open(name string) (*os.File, error) {
	full := path.Join(x.dir, name)
	info, err := x.root.Stat(full)
	if err != nil {
		return nil, err
	}
	if !info.Mode().IsRegular() {
		return nil, &DamageError{File: name, Reason: errors.New("not a file")}
	}
	return x.root.Open(full)
}

// Select returns the parts that the filter asks for. Each of its kinds and
// namespaces must be a part of its own: an export can't be taken apart further.
func (x *Export) Select(f Filter) ([]Part, error) {
	if len(f.Kinds) == 0 && len(f.Namespaces) == 0 {
		return x.Parts, nil
	}
	var parts []Part
	for _, s := range f.Scopes() {
		var found []Part
		for _, p := range x.Parts {
			if (s.AllKinds || p.Kind == s.Kind && !p.AllKinds) && (s.AllNamespaces || p.Namespace == s.Namespace && !p.AllNamespaces) {
				found = append(found, p)
			}
		}
		if len(found) == 0 {
			return nil, &MissingPartError{Scope: s, Parts: x.Parts}
		}
		for _, p := range found {
			if !slices.ContainsFunc(parts, func(q Part) bool { return q.file == p.file }) {
				parts = append(parts, p)
			}
		}
	}
	return parts, nil
}

// A MissingPartError says that an export has no part of its own for what was
// asked of it.
type MissingPartError struct {
	Scope
	Parts []Part
}

func (e *MissingPartError) Error() string {
	const shown = 5
	var have []string
	for _, p := range e.Parts[:min(shown, len(e.Parts))] {
		have = append(have, p.String())
	}
	if more := len(e.Parts) - shown; more > 0 {
		have = append(have, fmt.Sprintf("and %d more", more))
	}
	return fmt.Sprintf("the export has no part for %s; it was made of: %s", e.Scope, strings.Join(have, "; "))
}

// Entities reads a part into a project and database. After an error nothing
// more comes. A part with another number of entities than the metadata says is
// an error, after the last of them.
func (x *Export) Entities(p Part, project, database string) iter.Seq2[*pb.Entity, error] {
	return func(yield func(*pb.Entity, error) bool) {
		var n int64
		for _, output := range p.outputs {
			more, err := x.read(output, func(record []byte) (bool, error) {
				e, err := Decode(record, project, database)
				if err != nil {
					return false, err
				}
				n++
				return yield(e, nil), nil
			})
			if err != nil {
				yield(nil, err)
			}
			if !more || err != nil {
				return
			}
		}
		if p.Entities != 0 && n != p.Entities {
			yield(nil, &DamageError{File: p.file, Reason: fmt.Errorf("%d entities where the metadata says %d", n, p.Entities)})
		}
	}
}

// read calls f with each record of an output until it has no more, or enough.
func (x *Export) read(output string, f func([]byte) (bool, error)) (more bool, err error) {
	r, err := x.open(output)
	if err != nil {
		return false, err
	}
	defer r.Close()
	log := newLogReader(r)
	for {
		record, err := log.next()
		if errors.Is(err, io.EOF) {
			return true, nil
		}
		if err == nil {
			more, err = f(record)
		}
		if err != nil {
			return false, &DamageError{File: output, Offset: log.start, Reason: err}
		}
		if !more {
			return false, nil
		}
	}
}
