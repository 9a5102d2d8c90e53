package encoding

import (
	"bytes"
	"encoding/binary"
	"iter"
	"math"
	"strings"
)

// Rows are all rows of one entity, in one string that is kept for as long as the
// entity is. Every row ends with the entity's path, which is there once; what
// comes before it is the row's head. The first head is that of the entity row,
// the second that of the kind row, and those of the property rows follow, in
// ascending order and without duplicates.
//
// No head is the beginning of another one, so heads order as their rows do.
type Rows struct {
	// A byte that says how wide numbers are and whether properties repeat; then
	// the numbers: how many rows there are, where the path ends, and where each
	// head ends; then the path and the heads themselves.
	packed string
}

// What the first byte says; numbers have two bytes where four aren't needed.
const (
	rowsWide    = 1 << iota // numbers of four bytes
	rowsRepeats             // some property has several rows
)

// pack returns the Rows with these parts; the heads are in buf.
func pack(path, buf []byte, heads []head) Rows {
	size := len(path)
	for _, h := range heads {
		size += h.end - h.begin
	}
	flags, width := byte(0), 2
	if 1+(2+len(heads))*width+size > math.MaxUint16 {
		flags, width = rowsWide, 4
	}
	for i := FirstProperty + 1; i < len(heads); i++ {
		if bytes.Equal(heads[i-1].property(buf), heads[i].property(buf)) {
			flags |= rowsRepeats
			break
		}
	}
	end := 1 + (2+len(heads))*width
	var b strings.Builder
	b.Grow(end + size)
	number := func(n int) {
		var bytes [4]byte
		binary.LittleEndian.PutUint32(bytes[:], uint32(n))
		b.Write(bytes[:width])
	}
	b.WriteByte(flags)
	number(len(heads))
	end += len(path)
	number(end)
	for _, h := range heads {
		end += h.end - h.begin
		number(end)
	}
	b.Write(path)
	for _, h := range heads {
		b.Write(h.of(buf))
	}
	return Rows{b.String()}
}

func (r Rows) width() int {
	if r.packed[0]&rowsWide != 0 {
		return 4
	}
	return 2
}

func (r Rows) number(i int) int {
	if r.packed[0]&rowsWide == 0 {
		s := r.packed[1+2*i : 1+2*i+2]
		return int(s[0]) | int(s[1])<<8
	}
	s := r.packed[1+4*i : 1+4*i+4]
	return int(s[0]) | int(s[1])<<8 | int(s[2])<<16 | int(s[3])<<24
}

// Len is how many rows there are.
func (r Rows) Len() int {
	if r.packed == "" {
		return 0
	}
	return r.number(0)
}

// Repeats reports whether a property has several rows.
func (r Rows) Repeats() bool { return r.packed != "" && r.packed[0]&rowsRepeats != 0 }

// Path is what each row ends with.
func (r Rows) Path() string { return r.packed[1+(2+r.Len())*r.width() : r.number(1)] }

// Head is what the i-th row has before the path.
func (r Rows) Head(i int) string {
	if r.packed[0]&rowsWide == 0 {
		s := r.packed[1+2*(1+i) : 1+2*(3+i)]
		return r.packed[int(s[0])|int(s[1])<<8 : int(s[2])|int(s[3])<<8]
	}
	return r.packed[r.number(1+i):r.number(2+i)]
}

// Row is the whole of the i-th row.
func (r Rows) Row(i int) string { return r.Head(i) + r.Path() }

// All yields the whole rows.
func (r Rows) All() iter.Seq[string] {
	return func(yield func(string) bool) {
		for i := range r.Len() {
			if !yield(r.Row(i)) {
				return
			}
		}
	}
}

// Size is how many bytes the rows take.
func (r Rows) Size() int { return len(r.packed) }

// FirstProperty is the number of the first property row.
const FirstProperty = 2

// Find is the number of the first property row whose head is not smaller than at.
func (r Rows) Find(at string) int {
	lo, hi := FirstProperty, r.Len()
	for lo < hi {
		mid := int(uint(lo+hi) >> 1)
		if r.Head(mid) < at {
			lo = mid + 1
		} else {
			hi = mid
		}
	}
	return lo
}

// Repeated yields what the rows of a property start with, for each property of
// which the entity has several rows.
func (r Rows) Repeated() iter.Seq[string] {
	return func(yield func(string) bool) {
		last := ""
		for i := FirstProperty + 1; i < r.Len(); i++ {
			head := r.Head(i)
			prefix := head[:propertyLen(head)]
			if prefix != last && strings.HasPrefix(r.Head(i-1), prefix) {
				if last = prefix; !yield(prefix) {
					return
				}
			}
		}
	}
}

// TypedLen is the length of a property row's head as far as the tag that the value
// begins with: the rows of one property that have values of one type begin alike.
func TypedLen(head string) int { return propertyLen(head) + 1 }

// propertyLen is the length of a property row as far as the value.
func propertyLen(row string) int {
	n := 1
	for range 3 {
		n += max(0, textLen(row[n:], 0))
	}
	return n
}
