package export

import (
	"cmp"
	"crypto/sha256"
	"errors"
	"fmt"
	"iter"
	"net/url"
	"os"
	"path"
	"time"

	pb "cloud.google.com/go/datastore/apiv1/datastorepb"
)

// Filter chooses kinds and namespaces; none of either means all of them, ""
// being the default namespace.
type Filter struct{ Kinds, Namespaces []string }

// Scopes are the parts that an export with the filter consists of.
func (f Filter) Scopes() []Scope {
	kinds := []Scope{{AllKinds: true}}
	if len(f.Kinds) > 0 {
		kinds = kinds[:0]
		for _, kind := range f.Kinds {
			kinds = append(kinds, Scope{Kind: kind})
		}
	}
	var scopes []Scope
	for _, s := range kinds {
		if s.AllNamespaces = len(f.Namespaces) == 0; s.AllNamespaces {
			scopes = append(scopes, s)
		}
		for _, s.Namespace = range f.Namespaces {
			scopes = append(scopes, s)
		}
	}
	return scopes
}

// Source yields the entities of a part.
type Source func(Scope) iter.Seq2[*pb.Entity, error]

// Write writes an export of the given name to the folder dir, which it makes, and
// returns the path of its overall metadata. That file comes last: without it
// there is no export. After an error nothing is left.
func Write(root *os.Root, dir, name string, f Filter, source Source) (file string, parts []Part, err error) {
	if err := root.MkdirAll(path.Dir(dir), 0o755); err != nil {
		return "", nil, err
	}
	if err := root.Mkdir(dir, 0o755); err != nil {
		return "", nil, err // what is there already is not ours to remove
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, root.RemoveAll(dir))
		}
	}()
	for _, s := range f.Scopes() {
		p, err := writePart(root, dir, name, s, source(s))
		if err != nil {
			return "", nil, err
		}
		parts = append(parts, p)
	}
	file = path.Join(dir, name+OverallSuffix)
	return file, parts, writeFile(root, file, func(w *os.File) error {
		log := newLogWriter(w)
		err := log.write([]byte(formatVersion))
		for i := range parts {
			err = cmp.Or(err, log.write(appendOverall(nil, &parts[i])))
		}
		return cmp.Or(err, log.flush())
	})
}

// OverallSuffix ends the name of the file that an import begins with.
const OverallSuffix = ".overall_export_metadata"

// writePart writes one output and the metadata that names it.
func writePart(root *os.Root, dir, name string, s Scope, entities iter.Seq2[*pb.Entity, error]) (Part, error) {
	const output = "output-0"
	p := Part{Scope: s}
	outer, inner := s.folders()
	p.file = path.Join(outer, inner, outer+"_"+inner+".export_metadata")
	folder := path.Join(dir, outer, inner)
	if err := root.MkdirAll(folder, 0o755); err != nil {
		return p, err
	}
	start := time.Now()
	err := writeFile(root, path.Join(folder, output), func(w *os.File) error {
		log := newLogWriter(w)
		var record []byte
		for e, err := range entities {
			if err != nil {
				return err
			}
			record = AppendEntity(record[:0], e)
			if err := log.write(record); err != nil {
				return fmt.Errorf("entity %v: %w", e.GetKey().GetPath(), err)
			}
			p.Entities++
		}
		p.Bytes = log.bytes
		return log.flush()
	})
	if err != nil {
		return p, err
	}
	return p, writeFile(root, path.Join(dir, p.file), func(w *os.File) error {
		_, err := w.Write(appendRun(nil, name, start, time.Now(), output))
		return err
	})
}

// folders are the names that exports give to the folders of a part. What can't
// stand in a file name is escaped; readers find the folders by the metadata.
func (s Scope) folders() (namespace, kind string) {
	namespace, kind = "default_namespace", "all_kinds"
	switch {
	case s.AllNamespaces:
		namespace = "all_namespaces"
	case s.Namespace != "":
		namespace = "namespace_" + s.Namespace
	}
	if !s.AllKinds {
		kind = "kind_" + shorten(url.PathEscape(s.Kind))
	}
	return namespace, kind
}

// shorten makes a name of any length one that file systems take.
func shorten(name string) string {
	const most, kept = 100, 80
	if len(name) <= most {
		return name
	}
	return fmt.Sprintf("%s-%x", name[:kept], sha256.Sum256([]byte(name)))[:most]
}

// writeFile creates a file, fills it and sees it to the disk.
func writeFile(root *os.Root, name string, fill func(*os.File) error) error {
	w, err := root.OpenFile(name, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o644)
	if err != nil {
		return err
	}
	err = fill(w)
	if err == nil {
		err = w.Sync()
	}
	return errors.Join(err, w.Close())
}
