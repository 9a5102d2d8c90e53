package statistics

import (
	"strings"

	pb "cloud.google.com/go/datastore/apiv1/datastorepb"
	"github.com/latchwork/latchwork/emulator/datastore/internal/encoding"
	"github.com/latchwork/latchwork/emulator/datastore/internal/indexes"
	"github.com/latchwork/latchwork/emulator/datastore/internal/storage"
)

// figures are what a statistic says. Bytes are the sum of all storage.
type figures struct {
	count                          int64 // entities, or values of properties, or index entries
	entityBytes                    int64
	builtinBytes, builtinCount     int64
	compositeBytes, compositeCount int64
}

func (f *figures) add(o figures) {
	f.count += o.count
	f.entityBytes += o.entityBytes
	f.builtinBytes += o.builtinBytes
	f.builtinCount += o.builtinCount
	f.compositeBytes += o.compositeBytes
	f.compositeCount += o.compositeCount
}

func (f figures) bytes() int64 { return f.entityBytes + f.builtinBytes + f.compositeBytes }

// The subjects of the finest statistics; all others are sums of those.
type (
	kindOf struct {
		namespace, kind string
		root            bool
	}
	propertyOf struct{ namespace, kind, property, typ string }
	indexOf    struct{ namespace, kind, definition string }
)

type collection struct {
	kinds       map[kindOf]figures
	properties  map[propertyOf]figures
	composites  map[indexOf]figures
	definitions map[string][]indexes.Definition // by kind
}

func newCollection() *collection {
	return &collection{kinds: map[kindOf]figures{}, properties: map[propertyOf]figures{}, composites: map[indexOf]figures{},
		definitions: map[string][]indexes.Definition{}}
}

// collect goes through all entities of a state.
func collect(v storage.View) (*collection, error) {
	c := newCollection()
	var err error
	v.Ascend(encoding.AllEntities, encoding.PrefixEnd(encoding.AllEntities), func(r storage.Row) bool {
		var e *pb.Entity
		if e, err = r.Entity.Decode(); err != nil {
			return false
		}
		path := e.GetKey().GetPath()
		c.define(v, path[len(path)-1].GetKind())
		c.entity(e)
		return true
	})
	return c, err
}

// define finds out which composite indexes a kind has.
func (c *collection) define(v storage.View, kind string) {
	if _, known := c.definitions[kind]; known {
		return
	}
	c.definitions[kind] = nil
	for _, x := range v.Composites(kind) {
		c.definitions[kind] = append(c.definitions[kind], x.Definition)
	}
}

// measure takes the sizes of one entity.
type measure struct {
	*collection
	namespace, kind string
	project         string
	entry           int64 // what an entry of a built-in index takes without name and value
	total           figures
	indexed         map[string][]int64 // by property: the sizes of its distinct indexed values; nil: nobody asks
	seen            map[string]bool    // what lists had of those, in index form behind the name
}

func (c *collection) entity(e *pb.Entity) {
	path := e.GetKey().GetPath()
	m := measure{collection: c, kind: path[len(path)-1].GetKind(),
		namespace: e.GetKey().GetPartitionId().GetNamespaceId(), project: e.GetKey().GetPartitionId().GetProjectId()}
	definitions := c.definitions[m.kind]
	if len(definitions) > 0 {
		m.indexed = map[string][]int64{}
	}
	key := keySize(e.GetKey())
	m.entry = key + textSize(m.kind) + entryOverhead
	m.total = figures{count: 1, entityBytes: entitySize(e)}
	for name, v := range e.GetProperties() {
		m.value(name, textSize(name), v, false, false)
	}
	for _, d := range definitions {
		m.composite(d, key, len(path))
	}
	at := kindOf{m.namespace, m.kind, len(path) == 1}
	sum := c.kinds[at]
	sum.add(m.total)
	c.kinds[at] = sum
}

// value counts a property's value; name is the size of its name if that counts
// with this value. In a list, or under a dotted name, which may also be one of
// an embedded entity, the property may have the same value again.
func (m *measure) value(property string, name int64, v *pb.Value, unindexed, inList bool) {
	unindexed = unindexed || v.GetExcludeFromIndexes()
	if list, ok := v.GetValueType().(*pb.Value_ArrayValue); ok && !isVector(v) {
		for i, element := range list.ArrayValue.GetValues() {
			if i > 0 {
				name = 0
			}
			m.value(property, name, element, unindexed, true)
		}
		return
	}
	f := figures{count: 1}
	if embedded, ok := v.GetValueType().(*pb.Value_EntityValue); ok {
		f.entityBytes = name + entitySize(&pb.Entity{Key: embedded.EntityValue.GetKey()})
		for sub, v := range embedded.EntityValue.GetProperties() {
			m.value(property+"."+sub, textSize(sub), v, unindexed, inList)
		}
	} else {
		size := valueSize(v)
		f.entityBytes = name + size
		again := inList || strings.Contains(property, ".")
		if !unindexed && (!again || m.first(property, v)) {
			if m.indexed != nil {
				m.indexed[property] = append(m.indexed[property], size)
			}
			f.builtinCount = 2 // ascending and descending
			f.builtinBytes = 2 * (m.entry + textSize(property) + size)
		}
	}
	at := propertyOf{m.namespace, m.kind, property, typeName(v, unindexed)}
	sum := m.properties[at]
	sum.add(f)
	m.properties[at] = sum
	m.total.builtinBytes += f.builtinBytes
	m.total.builtinCount += f.builtinCount
}

// first reports whether the entity has no equal value in the property's index
// yet.
func (m *measure) first(property string, v *pb.Value) bool {
	row, ok := encoding.AppendValue([]byte(encoding.PropertyPrefix("", "", property)), v, m.project)
	if !ok || m.seen[string(row)] {
		return false
	}
	if m.seen == nil {
		m.seen = map[string]bool{}
	}
	m.seen[string(row)] = true
	return true
}

// composite counts the entity's entries in one composite index: one for each
// combination of values and, in an ancestor index, for each ancestor.
func (m *measure) composite(d indexes.Definition, key int64, depth int) {
	entries := int64(1)
	if d.Ancestor {
		entries = int64(depth)
	}
	for _, p := range d.Properties {
		if p.Name != indexes.KeyProperty {
			entries *= int64(len(m.indexed[p.Name]))
		}
	}
	if entries == 0 {
		return
	}
	bytes := entries * (key + entryOverhead)
	for _, p := range d.Properties {
		sizes := m.indexed[p.Name]
		for _, size := range sizes {
			bytes += entries / int64(len(sizes)) * size
		}
	}
	at := indexOf{m.namespace, m.kind, d.Key()}
	sum := m.composites[at]
	sum.add(figures{count: entries, compositeBytes: bytes, compositeCount: entries})
	m.composites[at] = sum
	m.total.compositeBytes += bytes
	m.total.compositeCount += entries
}
