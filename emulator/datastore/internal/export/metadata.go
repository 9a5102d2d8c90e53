package export

import (
	"errors"
	"fmt"
	"io"
	"path"
	"time"

	"google.golang.org/protobuf/encoding/protowire"
)

// A Part is what an export has of one kind, or of all, in one namespace, or in
// all.
type Part struct {
	Scope
	Entities int64
	Bytes    int64 // of the outputs

	file    string   // its metadata, relative to the export's folder
	outputs []string // likewise
}

// Scope says of which entities a part consists.
type Scope struct {
	Kind          string
	AllKinds      bool
	Namespace     string
	AllNamespaces bool
}

// String is the scope as one reads it.
func (s Scope) String() string {
	kind, namespace := fmt.Sprintf("kind %q", s.Kind), fmt.Sprintf("namespace %q", s.Namespace)
	if s.AllKinds {
		kind = "all kinds"
	}
	if s.AllNamespaces {
		namespace = "all namespaces"
	}
	return kind + ", " + namespace
}

// The overall metadata is a log: formatVersion, then a record for each part,
// which says what it is and where.
const (
	formatVersion = "3"

	overallPart     = 1
	partScope       = 1
	partFile        = 2
	partEntities    = 3
	partBytes       = 4
	scopeKinds      = 1
	scopeKind       = 2
	scopeNamespaces = 3
	scopeNamespace  = 4

	oneKind          = 1
	allKinds         = 2
	defaultNamespace = 1
	oneNamespace     = 2
	allNamespaces    = 3
)

// The metadata of a part is one message.
const (
	partRun    = 1
	runName    = 1
	runStart   = 2 // µs
	runEnd     = 3
	partOutput = 2
	outputName = 2
)

func appendOverall(dst []byte, p *Part) []byte {
	return appendMessage(dst, overallPart, func(dst []byte) []byte {
		dst = appendMessage(dst, partScope, func(dst []byte) []byte {
			kinds, namespaces := int64(oneKind), int64(oneNamespace)
			if p.AllKinds {
				kinds = allKinds
			}
			switch {
			case p.AllNamespaces:
				namespaces = allNamespaces
			case p.Namespace == "":
				namespaces = defaultNamespace
			}
			dst = appendNumber(dst, scopeKinds, kinds)
			dst = appendString(dst, scopeKind, p.Kind)
			dst = appendNumber(dst, scopeNamespaces, namespaces)
			return appendString(dst, scopeNamespace, p.Namespace)
		})
		dst = appendString(dst, partFile, p.file)
		dst = appendNumber(dst, partEntities, p.Entities)
		return appendNumber(dst, partBytes, p.Bytes)
	})
}

// readOverall reads the parts that a log of overall metadata lists.
func readOverall(r io.Reader) (parts []Part, offset int64, err error) {
	log := newLogReader(r)
	version, err := log.next()
	if err != nil {
		if errors.Is(err, io.EOF) {
			err = errors.New("no record")
		}
		return nil, log.start, err
	}
	if string(version) != formatVersion {
		return nil, log.start, fmt.Errorf("format version %q; only %q is known", cut(version), formatVersion)
	}
	for {
		record, err := log.next()
		if errors.Is(err, io.EOF) {
			return parts, 0, nil
		}
		if err == nil {
			err = fields(record, func(f field) error {
				if !f.is(overallPart, protowire.BytesType) {
					return nil
				}
				p, err := readPart(f.bytes)
				parts = append(parts, p)
				return err
			})
		}
		if err == nil && len(parts) > maxParts {
			err = fmt.Errorf("over %d parts", maxParts)
		}
		if err != nil {
			return nil, log.start, err
		}
	}
}

func readPart(message []byte) (p Part, err error) {
	var kinds, namespaces uint64
	err = fields(message, func(f field) error {
		switch {
		case f.is(partScope, protowire.BytesType):
			return fields(f.bytes, func(f field) error {
				switch {
				case f.is(scopeKinds, protowire.VarintType):
					kinds = f.integer
				case f.is(scopeKind, protowire.BytesType):
					return f.text(&p.Kind)
				case f.is(scopeNamespaces, protowire.VarintType):
					namespaces = f.integer
				case f.is(scopeNamespace, protowire.BytesType):
					return f.text(&p.Namespace)
				}
				return nil
			})
		case f.is(partFile, protowire.BytesType):
			return f.text(&p.file)
		case f.is(partEntities, protowire.VarintType):
			p.Entities = int64(f.integer)
		case f.is(partBytes, protowire.VarintType):
			p.Bytes = int64(f.integer)
		}
		return nil
	})
	switch {
	case err != nil:
	case kinds != oneKind && kinds != allKinds:
		err = fmt.Errorf("a part with kinds of type %d", kinds)
	case namespaces < defaultNamespace || namespaces > allNamespaces:
		err = fmt.Errorf("a part with namespaces of type %d", namespaces)
	case p.file == "":
		err = errors.New("a part without a file")
	}
	p.AllKinds, p.AllNamespaces = kinds == allKinds, namespaces == allNamespaces
	return p, err
}

func appendRun(dst []byte, name string, start, end time.Time, outputs ...string) []byte {
	dst = appendMessage(dst, partRun, func(dst []byte) []byte {
		dst = appendString(dst, runName, name)
		dst = appendNumber(dst, runStart, start.UnixMicro())
		return appendNumber(dst, runEnd, end.UnixMicro())
	})
	for _, output := range outputs {
		dst = appendMessage(dst, partOutput, func(dst []byte) []byte {
			return appendString(appendString(dst, 1, ""), outputName, output)
		})
	}
	return dst
}

// readOutputs reads the names of the outputs, which stand in the same folder.
func readOutputs(message []byte, file string) (outputs []string, err error) {
	return outputs, fields(message, func(f field) error {
		if !f.is(partOutput, protowire.BytesType) {
			return nil
		}
		if len(outputs) == maxOutputs {
			return fmt.Errorf("over %d outputs", maxOutputs)
		}
		return fields(f.bytes, func(f field) error {
			if !f.is(outputName, protowire.BytesType) {
				return nil
			}
			var name string
			err := f.text(&name)
			outputs = append(outputs, path.Join(path.Dir(file), name))
			return err
		})
	})
}

const (
	maxParts    = 100_000
	maxOutputs  = 100_000
	maxMetadata = 64 << 20 // bytes of a part's metadata
)
