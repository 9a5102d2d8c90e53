package engine

import (
	"encoding/binary"
	"math"
)

// The specs of a queue's tasks resemble each other: the same URL, the same
// headers, the same fields in their bodies. Waiting tasks keep theirs as what
// differs from a sample: an earlier spec of the queue. A packed spec is
//
//	the number of the sample, 0 for none: then the spec follows as it is
//	the length of the spec
//	until that is reached: the length of a literal, the literal; the length of a
//	    copy from the sample and, unless that is 0, its offset
//
// Numbers are uvarints, but for the first, a byte.
const (
	maxSamples  = math.MaxUint8
	maxSample   = 4 << 10 // bytes; a longer spec is neither a sample nor packed
	minSample   = 32
	minCopy     = 6  // bytes; a shorter one isn't worth its numbers
	poorResults = 32 // in a row, after which another sample is taken
)

// samples are those of one queue.
type samples struct {
	all   [][]byte
	poor  int
	table []uint16 // positions in the last of all, plus one, by hash
}

const tableBits = 10

// hashAt hashes the minCopy bytes at the start of b, which has eight.
func hashAt(b []byte) uint32 {
	return uint32(binary.LittleEndian.Uint64(b) << 16 * 0x9e3779b97f4a7c15 >> (64 - tableBits))
}

// take makes spec the sample.
func (s *samples) take(spec []byte) {
	if len(s.all) == maxSamples {
		return
	}
	s.all = append(s.all, append([]byte(nil), spec...))
	s.table = make([]uint16, 1<<tableBits)
	for i := 0; i+8 <= len(spec); i++ {
		s.table[hashAt(spec[i:])] = uint16(i + 1)
	}
	s.poor = 0
}

// pack appends spec to b, packed.
func (s *samples) pack(b, spec []byte) []byte {
	if len(spec) < minSample || len(spec) > maxSample {
		return append(append(b, 0), spec...)
	}
	if len(s.all) == 0 {
		s.take(spec)
	}
	start := len(b)
	b = append(b, byte(len(s.all)))
	b = binary.AppendUvarint(b, uint64(len(spec)))
	sample := s.all[len(s.all)-1]
	literal := 0
	for i := 0; i+8 <= len(spec); {
		at := int(s.table[hashAt(spec[i:])]) - 1
		n := 0
		if at >= 0 {
			n = common(spec[i:], sample[at:])
		}
		if n < minCopy {
			i++
			continue
		}
		b = binary.AppendUvarint(b, uint64(i-literal))
		b = append(b, spec[literal:i]...)
		b = binary.AppendUvarint(b, uint64(n))
		b = binary.AppendUvarint(b, uint64(at))
		i += n
		literal = i
	}
	if literal < len(spec) {
		b = binary.AppendUvarint(b, uint64(len(spec)-literal))
		b = append(b, spec[literal:]...)
		b = append(b, 0)
	}
	if packed := len(b) - start; packed > len(spec)*3/4 {
		if s.poor++; s.poor >= poorResults {
			s.take(spec)
		}
		if packed > len(spec) {
			return append(append(b[:start], 0), spec...)
		}
		return b
	}
	s.poor = 0
	return b
}

// common is the length of what a and b begin with alike.
func common(a, b []byte) int {
	n := min(len(a), len(b))
	for i := range n {
		if a[i] != b[i] {
			return i
		}
	}
	return n
}

// unpackedLen is the length of the spec in p.
func unpackedLen(p string) int {
	if p[0] == 0 {
		return len(p) - 1
	}
	n, _ := uvarint(p[1:])
	return int(n)
}

// unpack appends the spec that pack made p of to b.
func (s *samples) unpack(b []byte, p string) []byte {
	number := p[0]
	if p = p[1:]; number == 0 {
		return append(b, p...)
	}
	sample := s.all[number-1]
	next := func() int {
		n, used := uvarint(p)
		p = p[used:]
		return int(n)
	}
	for end := len(b) + next(); len(b) < end; {
		n := next()
		b = append(b, p[:n]...)
		p = p[n:]
		if n = next(); n > 0 {
			at := next()
			b = append(b, sample[at:at+n]...)
		}
	}
	return b
}

// uvarint is binary.Uvarint for strings that hold one.
func uvarint(s string) (n uint64, used int) {
	for shift := 0; ; shift += 7 {
		c := s[used]
		used++
		n |= uint64(c&0x7f) << shift
		if c < 0x80 {
			return n, used
		}
	}
}
