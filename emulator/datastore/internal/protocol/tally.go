package protocol

import (
	"math"
	"math/bits"

	pb "cloud.google.com/go/datastore/apiv1/datastorepb"
	"github.com/latchwork/latchwork/emulator/datastore/internal/encoding"
	"google.golang.org/protobuf/types/known/structpb"
)

// tally sums up the numbers among index values. Integers are summed exactly, in
// 128 bits, so that only the result can overflow.
type tally struct {
	n       int64 // how many numbers
	hi      int64 // of the integers
	lo      uint64
	doubles float64
	inexact bool // there were doubles
}

// add adds a value in index form, if it is a number.
func (t *tally) add(value string) {
	n, ok := encoding.CutNumber(value)
	if !ok {
		return
	}
	t.n++
	if n.IsDouble {
		t.doubles += n.Double
		t.inexact = true
		return
	}
	var carry uint64
	t.lo, carry = bits.Add64(t.lo, uint64(n.Int), 0)
	t.hi += n.Int>>63 + int64(carry)
}

// integer is the sum, if it is one that fits.
func (t *tally) integer() (int64, bool) {
	return int64(t.lo), !t.inexact && t.hi == int64(t.lo)>>63
}

func (t *tally) double() float64 {
	if t.hi == int64(t.lo)>>63 {
		return t.doubles + float64(int64(t.lo))
	}
	return t.doubles + math.Ldexp(float64(t.hi), 64) + float64(t.lo)
}

// sum is 0 for no numbers, an integer if all were and it fits, else a double.
func (t *tally) sum() *pb.Value {
	if i, ok := t.integer(); ok {
		return integerValue(i)
	}
	return doubleValue(t.double())
}

// average is null for no numbers, else a double.
func (t *tally) average() *pb.Value {
	if t.n == 0 {
		return &pb.Value{ValueType: &pb.Value_NullValue{NullValue: structpb.NullValue_NULL_VALUE}}
	}
	return doubleValue(t.double() / float64(t.n))
}

func integerValue(i int64) *pb.Value {
	return &pb.Value{ValueType: &pb.Value_IntegerValue{IntegerValue: i}}
}

func doubleValue(f float64) *pb.Value {
	return &pb.Value{ValueType: &pb.Value_DoubleValue{DoubleValue: f}}
}
