package model

import (
	"cmp"
	"slices"
	"strings"
	"unicode/utf8"

	pb "cloud.google.com/go/datastore/apiv1/datastorepb"
	"github.com/latchwork/latchwork/emulator/datastore/difftest/script"
	"google.golang.org/protobuf/proto"
)

// Quirks are known mistakes of other servers.
type Quirks struct {
	Rows        bool // an entity is returned once for each of its index rows
	EmptyIsNull bool // an empty array is indexed as null
	Ascending   bool // what no order names sorts in ascending order, whatever the last order is
	KeyFirst    bool // sorting by key leaves out the orders after it, a filter for one key leaves out all
	ByName      bool // what is projected sorts before what is distinct, if its name does
	NotNearest  bool // find_nearest is ignored
	Unindexed   bool // what lies within an entity that is excluded from indexes is indexed
	KeyTies     bool // what is only projected sorts after the key
	AnyEqual    bool // of a property with several values, one may meet an equality, another one the rest
	Moved       bool // the unindexed elements of an array are moved behind the others
}

// Or joins two sets of mistakes.
func (q Quirks) Or(o Quirks) Quirks {
	return Quirks{q.Rows || o.Rows, q.EmptyIsNull || o.EmptyIsNull, q.Ascending || o.Ascending, q.KeyFirst || o.KeyFirst, q.ByName || o.ByName, q.NotNearest || o.NotNearest, q.Unindexed || o.Unindexed, q.KeyTies || o.KeyTies, q.AnyEqual || o.AnyEqual, q.Moved || o.Moved}
}

// Row is a result: an entity, and the values of the columns by which it was
// found there.
type Row struct {
	Entity *pb.Entity
	values []*pb.Value // one for each of the query's columns
}

// Position is a place in a query's results: after a row.
type Position struct {
	row Row
}

// Query is one in normal form.
type Query struct {
	quirks    Quirks
	kind      string
	namespace string
	dnf       [][]*pb.PropertyFilter
	columns   []column
	ordering  int // how many of the columns the query orders by, or has inequalities on
	projected []string
	distinct  []string
	needed    []string // results have them, in whatever column
	keyDesc   bool
	offset    int
	limit     int // -1: none
	near      *pb.FindNearest
}

type column struct {
	name string
	desc bool
}

const keyName = "__key__"

// Parse brings q into normal form.
func Parse(partition *pb.PartitionId, q *pb.Query, quirks Quirks) *Query {
	m := &Query{quirks: quirks, namespace: partition.GetNamespaceId(), offset: int(q.GetOffset()), limit: -1}
	if len(q.GetKind()) > 0 {
		m.kind = q.GetKind()[0].GetName()
	}
	if q.GetLimit() != nil {
		m.limit = int(q.GetLimit().GetValue())
	}
	if !quirks.NotNearest {
		m.near = q.GetFindNearest()
	}
	m.dnf = Alternatives(q.GetFilter())
	oneKey := ForOneKey(q)
	for _, o := range q.GetOrder() {
		if quirks.KeyFirst && oneKey {
			break
		}
		desc := o.GetDirection() == pb.PropertyOrder_DESCENDING
		if m.column(o.GetProperty().GetName()) >= 0 {
			continue
		}
		m.columns = append(m.columns, column{o.GetProperty().GetName(), desc})
		m.keyDesc = desc
		if quirks.KeyFirst && o.GetProperty().GetName() == keyName {
			break
		}
	}
	m.projected = Projected(q)
	for _, d := range q.GetDistinctOn() {
		m.distinct = append(m.distinct, d.GetName())
	}
	// What isn't sorted by, but decides which rows there are: first what is
	// distinct, then inequalities, then what is projected.
	add := func(names []string, desc bool) {
		for _, name := range names {
			if m.column(name) < 0 {
				m.columns = append(m.columns, column{name, desc})
			}
		}
	}
	if !quirks.ByName {
		add(m.distinct, m.keyDesc && !quirks.Ascending)
	}
	var unequal []string
	for _, f := range PropertyFilters(q.GetFilter()) {
		if IsInequality(f.GetOp()) {
			unequal = append(unequal, f.GetProperty().GetName())
		}
	}
	slices.SortFunc(unequal, func(a, b string) int { // keys last
		return cmp.Or(cmp.Compare(bit(a == keyName), bit(b == keyName)), strings.Compare(a, b))
	})
	add(unequal, m.keyDesc)
	m.ordering = len(m.columns)
	rest := m.projected
	if quirks.ByName {
		rest = slices.Concat(m.distinct, m.projected)
	}
	add(slices.Sorted(slices.Values(rest)), m.keyDesc && !quirks.Ascending)
	m.keyDesc = m.keyDesc && !quirks.Ascending
	return m
}

func (m *Query) column(name string) int {
	return slices.IndexFunc(m.columns, func(c column) bool { return c.name == name })
}

// Answer is what a query returns.
type Answer struct {
	Rows       []Row
	Skipped    int
	atLimit    bool // there is more, or the limit is 0
	atPosition bool // the end cursor cut something off
}

// More is what the answer says about what it left out.
func (a Answer) More() pb.QueryResultBatch_MoreResultsType {
	switch {
	case a.atLimit:
		return pb.QueryResultBatch_MORE_RESULTS_AFTER_LIMIT
	case a.atPosition:
		return pb.QueryResultBatch_MORE_RESULTS_AFTER_CURSOR
	}
	return pb.QueryResultBatch_NO_MORE_RESULTS
}

// Run returns the results, as far as the window goes.
func (m *Query) Run(entities []*pb.Entity, start, end *Position) Answer {
	var a Answer
	a.atLimit = m.limit == 0
	for _, row := range m.unique(m.rows(entities)) {
		switch {
		case start != nil && !m.after(row, start):
		case end != nil && m.after(row, end):
			a.atPosition = true
		case a.Skipped < m.offset:
			a.Skipped++
		case m.limit >= 0 && len(a.Rows) >= m.limit:
			a.atLimit = true
		default:
			a.Rows = append(a.Rows, row)
		}
	}
	if m.near != nil {
		a.Rows = nearest(a.Rows, m.near)
	}
	return a
}

// After is the position of a cursor after a row.
func After(row Row) *Position { return &Position{row: row} }

func (m *Query) after(row Row, p *Position) bool { return m.compare(row, p.row) > 0 }

// rows are all rows that meet the filters, in order.
func (m *Query) rows(entities []*pb.Entity) []Row {
	var all []Row
	for _, e := range entities {
		path := e.GetKey().GetPath()
		if e.GetKey().GetPartitionId().GetNamespaceId() != m.namespace || len(path) == 0 || m.kind != "" && path[len(path)-1].GetKind() != m.kind {
			continue
		}
		all = append(all, m.rowsOf(e)...)
	}
	slices.SortStableFunc(all, m.compare)
	return all
}

// unique keeps the first row of each result.
func (m *Query) unique(all []Row) []Row {
	of := func(row Row) string { return m.values(row, m.distinct) }
	switch {
	case len(m.distinct) > 0 && m.quirks.ByName: // they may stand apart
		all = slices.CompactFunc(all, func(a, b Row) bool { return of(a) == of(b) })
	case len(m.distinct) > 0:
		all = first(all, of)
	}
	if len(m.projected) > 0 || len(m.distinct) > 0 || m.quirks.Rows {
		return all
	}
	return first(all, func(row Row) string { return script.KeyText(row.Entity.GetKey()) })
}

func first(all []Row, of func(Row) string) []Row {
	seen := map[string]bool{}
	return slices.DeleteFunc(all, func(row Row) bool {
		again := seen[of(row)]
		seen[of(row)] = true
		return again
	})
}

func (m *Query) values(row Row, names []string) string {
	var b strings.Builder
	for _, name := range names {
		b.WriteString("\x00" + script.ValueText(Raw(m.value(row, name))))
	}
	return b.String()
}

func (m *Query) value(row Row, name string) *pb.Value {
	if i := m.column(name); i >= 0 {
		return row.values[i]
	}
	return nil
}

// rowsOf writes out the rows of one entity: every choice of a value for each
// column that meets one of the alternatives.
func (m *Query) rowsOf(e *pb.Entity) []Row {
	if slices.ContainsFunc(m.needed, func(name string) bool { return len(m.indexed(e, name)) == 0 }) {
		return nil
	}
	rows := []Row{{Entity: e}}
	for _, c := range m.columns {
		var next []Row
		for _, row := range rows {
			for _, v := range m.indexed(e, c.name) {
				next = append(next, Row{e, append(slices.Clip(row.values), v)})
			}
		}
		rows = next
	}
	return slices.DeleteFunc(rows, func(row Row) bool {
		return !slices.ContainsFunc(m.dnf, func(and []*pb.PropertyFilter) bool { return m.meets(row, and) })
	})
}

// meets reports whether a row meets all filters: an inequality by the row's
// value, an equality by any value of the entity.
func (m *Query) meets(row Row, and []*pb.PropertyFilter) bool {
	for _, f := range and {
		name := f.GetProperty().GetName()
		want := f.GetValue()
		if f.GetOp() == pb.PropertyFilter_HAS_ANCESTOR {
			if !isAncestor(want.GetKeyValue(), row.Entity.GetKey()) {
				return false
			}
			continue
		}
		if IsInequality(f.GetOp()) {
			if !holds(f.GetOp(), m.value(row, name), want) {
				return false
			}
			continue
		}
		if !slices.ContainsFunc(m.indexed(row.Entity, name), func(v *pb.Value) bool { return Compare(v, want) == 0 }) {
			return false
		}
		if v := m.value(row, name); v != nil && !m.quirks.Rows && !m.quirks.AnyEqual && !slices.ContainsFunc(and, func(f *pb.PropertyFilter) bool {
			return f.GetProperty().GetName() == name && f.GetOp() == pb.PropertyFilter_EQUAL && Compare(v, f.GetValue()) == 0
		}) {
			return false // what the property equals is all that it orders by
		}
	}
	return true
}

func holds(op pb.PropertyFilter_Operator, v, want *pb.Value) bool {
	order := 0
	if op != pb.PropertyFilter_NOT_IN {
		order = Compare(v, want)
	}
	switch op {
	case pb.PropertyFilter_LESS_THAN:
		return order < 0
	case pb.PropertyFilter_LESS_THAN_OR_EQUAL:
		return order <= 0
	case pb.PropertyFilter_GREATER_THAN:
		return order > 0
	case pb.PropertyFilter_GREATER_THAN_OR_EQUAL:
		return order >= 0
	case pb.PropertyFilter_NOT_EQUAL:
		return order != 0
	case pb.PropertyFilter_NOT_IN:
		return !slices.ContainsFunc(want.GetArrayValue().GetValues(), func(w *pb.Value) bool { return Compare(v, w) == 0 })
	}
	return false
}

// indexed are the values under which an entity stands in the index of a
// property, each once.
func (m *Query) indexed(e *pb.Entity, name string) []*pb.Value {
	if name == keyName {
		return []*pb.Value{{ValueType: &pb.Value_KeyValue{KeyValue: e.GetKey()}}}
	}
	var all []*pb.Value
	m.collect(e.GetProperties(), name, &all)
	slices.SortStableFunc(all, Compare)
	return slices.CompactFunc(all, func(a, b *pb.Value) bool { return Compare(a, b) == 0 })
}

func (m *Query) collect(props map[string]*pb.Value, name string, all *[]*pb.Value) {
	if v, ok := props[name]; ok {
		m.elements(v, all)
	}
	for i := range len(name) {
		if name[i] != '.' {
			continue
		}
		v := props[name[:i]]
		if v.GetExcludeFromIndexes() && !m.quirks.Unindexed {
			continue
		}
		if e := v.GetEntityValue(); e != nil {
			m.collect(e.GetProperties(), name[i+1:], all)
		}
		for _, elem := range v.GetArrayValue().GetValues() {
			if e := elem.GetEntityValue(); e != nil && (!elem.GetExcludeFromIndexes() || m.quirks.Unindexed) {
				m.collect(e.GetProperties(), name[i+1:], all)
			}
		}
	}
}

func (m *Query) elements(v *pb.Value, all *[]*pb.Value) {
	switch {
	case v.GetExcludeFromIndexes() || v.GetEntityValue() != nil || v.GetMeaning() == 31:
	case v.GetArrayValue() != nil:
		if len(v.GetArrayValue().GetValues()) == 0 && m.quirks.EmptyIsNull {
			*all = append(*all, &pb.Value{ValueType: &pb.Value_NullValue{}})
		}
		for _, elem := range v.GetArrayValue().GetValues() {
			m.elements(elem, all)
		}
	default:
		*all = append(*all, v)
	}
}

// compare orders rows.
func (m *Query) compare(a, b Row) int {
	columns := func(from, to int) int {
		for i := from; i < to; i++ {
			order := Compare(a.values[i], b.values[i])
			if m.columns[i].desc {
				order = -order
			}
			if order != 0 {
				return order
			}
		}
		return 0
	}
	key := CompareKeys(a.Entity.GetKey(), b.Entity.GetKey())
	if m.keyDesc {
		key = -key
	}
	if m.quirks.KeyTies {
		return cmp.Or(columns(0, m.ordering), key, columns(m.ordering, len(m.columns)))
	}
	return cmp.Or(columns(0, len(m.columns)), key)
}

// Projected is the entity as the query returns it.
func (m *Query) Projected(row Row, keysOnly bool) *pb.Entity {
	if len(m.projected) == 0 {
		if keysOnly {
			return &pb.Entity{Key: row.Entity.GetKey()}
		}
		if m.quirks.Moved {
			return UnindexedLast(row.Entity)
		}
		return row.Entity
	}
	e := &pb.Entity{Key: row.Entity.GetKey(), Properties: map[string]*pb.Value{}}
	for _, name := range m.projected {
		e.Properties[name] = Raw(m.value(row, name))
	}
	return e
}

// UnindexedLast is an entity whose arrays have their unindexed elements last.
func UnindexedLast(e *pb.Entity) *pb.Entity {
	e = proto.CloneOf(e)
	for _, v := range e.GetProperties() {
		slices.SortStableFunc(v.GetArrayValue().GetValues(), func(a, b *pb.Value) int {
			return cmp.Compare(bit(a.GetExcludeFromIndexes()), bit(b.GetExcludeFromIndexes()))
		})
	}
	return e
}

// Raw is a value as an index holds it.
func Raw(v *pb.Value) *pb.Value {
	raw := &pb.Value{ValueType: v.GetValueType(), Meaning: 18}
	switch t := v.GetValueType().(type) {
	case *pb.Value_TimestampValue:
		raw.ValueType = &pb.Value_IntegerValue{IntegerValue: whole(v)}
	case *pb.Value_BlobValue:
		if utf8.Valid(t.BlobValue) {
			raw.ValueType = &pb.Value_StringValue{StringValue: string(t.BlobValue)}
		}
	}
	return raw
}
