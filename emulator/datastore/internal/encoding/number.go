package encoding

import "encoding/binary"

// Number is a numeric index value. Times count as integers: microseconds.
type Number struct {
	Int      int64
	Double   float64 // if IsDouble
	IsDouble bool
}

// CutNumber reads the index form of a number; ok is false for that of anything
// else.
func CutNumber(value string) (n Number, ok bool) {
	if len(value) != 1+8 {
		return n, false
	}
	switch value[0] {
	case tagInt:
		n.Int = int64(binary.BigEndian.Uint64([]byte(value[1:])) ^ 1<<63)
		return n, true
	case tagDouble:
		f, _, err := cutDouble(value[1:])
		return Number{Double: f, IsDouble: true}, err == nil
	}
	return n, false
}
