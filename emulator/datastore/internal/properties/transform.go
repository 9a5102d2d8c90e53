package properties

import (
	"cmp"
	"fmt"
	"math"

	pb "cloud.google.com/go/datastore/apiv1/datastorepb"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/structpb"
	"google.golang.org/protobuf/types/known/timestamppb"
)

// Transform is a checked property transform.
type Transform struct {
	Path Path
	kind kind

	number   *pb.Value   // the operand of increment, maximum and minimum
	elements []*pb.Value // those of the transforms of arrays
	size     Budget      // what the elements take of it
}

type kind uint8

const (
	requestTime kind = iota
	increment
	maximum
	minimum
	appendMissing
	removeAll
)

// NewTransform checks t. It doesn't check what the elements of arrays hold.
func NewTransform(t *pb.PropertyTransform) (Transform, error) {
	path, err := ParsePath(t.GetProperty())
	if err != nil {
		return Transform{}, err
	}
	out := Transform{Path: path}
	switch op := t.GetTransformType().(type) {
	case *pb.PropertyTransform_SetToServerValue:
		if op.SetToServerValue != pb.PropertyTransform_REQUEST_TIME {
			return out, fmt.Errorf("ServerValue type must be specified for set_to_server_value transformation.")
		}
		out.kind = requestTime
	case *pb.PropertyTransform_Increment:
		out.kind, out.number = increment, op.Increment
	case *pb.PropertyTransform_Maximum:
		out.kind, out.number = maximum, op.Maximum
	case *pb.PropertyTransform_Minimum:
		out.kind, out.number = minimum, op.Minimum
	case *pb.PropertyTransform_AppendMissingElements:
		out.kind, out.elements = appendMissing, op.AppendMissingElements.GetValues()
		out.size = Budget(proto.Size(op.AppendMissingElements))
	case *pb.PropertyTransform_RemoveAllFromArray:
		out.kind, out.elements = removeAll, op.RemoveAllFromArray.GetValues()
		out.size = Budget(proto.Size(op.RemoveAllFromArray))
	default:
		return out, fmt.Errorf("Operation type must be specified for field transformation.")
	}
	for _, v := range out.operands() {
		if v.GetValueType() == nil {
			return out, fmt.Errorf("Value missing type.")
		}
	}
	if out.takesNumber() && !isNumber(out.number) {
		return out, fmt.Errorf("Input must be int64 or double.")
	}
	return out, nil
}

func (t *Transform) takesNumber() bool {
	return t.kind == increment || t.kind == maximum || t.kind == minimum
}

func (t *Transform) operands() []*pb.Value {
	if t.takesNumber() {
		return []*pb.Value{t.number}
	}
	return t.elements
}

// Elements are what the transform may write into the entity as it is.
func (t *Transform) Elements() []*pb.Value {
	if t.kind == removeAll {
		return nil
	}
	return t.operands()
}

// Timed reports whether the result depends on the time.
func (t *Transform) Timed() bool { return t.kind == requestTime }

// Budget is how many bytes of arrays, in wire form, may still be gone through.
// It bounds many transforms of one large array.
type Budget int

// Apply changes the property in e and returns the transform's result. now is
// the time of the request in µs; the property gets it in whole milliseconds.
func (t *Transform) Apply(e *pb.Entity, now int64, b *Budget) (*pb.Value, error) {
	name := t.Path[len(t.Path)-1]
	for _, step := range t.Path[:len(t.Path)-1] {
		sub := e.GetProperties()[step].GetEntityValue()
		if sub == nil {
			sub = &pb.Entity{}
			set(e, step, &pb.Value{ValueType: &pb.Value_EntityValue{EntityValue: sub}})
		}
		e = sub
	}
	stored := e.GetProperties()[name]
	switch t.kind {
	case requestTime:
		ms := now / 1000
		v := &pb.Value{ValueType: &pb.Value_TimestampValue{TimestampValue: &timestamppb.Timestamp{
			Seconds: ms / 1000, Nanos: int32(ms % 1000 * 1e6)}}}
		set(e, name, v)
		return v, nil
	case increment, maximum, minimum:
		v := t.arithmetic(stored)
		set(e, name, v)
		return v, nil
	}
	v, err := t.array(stored, b)
	if err != nil {
		return nil, err
	}
	set(e, name, v)
	return &pb.Value{ValueType: &pb.Value_NullValue{NullValue: structpb.NullValue_NULL_VALUE}}, nil
}

func isNumber(v *pb.Value) bool {
	switch v.GetValueType().(type) {
	case *pb.Value_IntegerValue, *pb.Value_DoubleValue:
		return true
	}
	return false
}

// arithmetic returns what a number transform makes of the stored value. What is
// written has the operand's index setting; what stays keeps its own.
func (t *Transform) arithmetic(stored *pb.Value) *pb.Value {
	if !isNumber(stored) {
		return t.number
	}
	switch {
	case t.kind == increment:
		return add(stored, t.number)
	case isNaN(stored):
		return stored
	case isNaN(t.number):
		return t.number
	}
	if c := compareNumbers(t.number, stored); t.kind == maximum && c > 0 || t.kind == minimum && c < 0 {
		return t.number
	}
	return stored
}

func isNaN(v *pb.Value) bool { return math.IsNaN(v.GetDoubleValue()) }

// add is exact for integers, which stop at the ends of their range, and IEEE
// 754 arithmetic when a double is involved.
func add(stored, n *pb.Value) *pb.Value {
	out := proto.CloneOf(n)
	a, aInt := stored.GetValueType().(*pb.Value_IntegerValue)
	b, bInt := n.GetValueType().(*pb.Value_IntegerValue)
	if !aInt || !bInt {
		out.ValueType = &pb.Value_DoubleValue{DoubleValue: double(stored) + double(n)}
		return out
	}
	sum := a.IntegerValue + b.IntegerValue
	switch {
	case b.IntegerValue > 0 && sum < a.IntegerValue:
		sum = math.MaxInt64
	case b.IntegerValue < 0 && sum > a.IntegerValue:
		sum = math.MinInt64
	}
	out.ValueType = &pb.Value_IntegerValue{IntegerValue: sum}
	return out
}

func double(v *pb.Value) float64 {
	if i, ok := v.GetValueType().(*pb.Value_IntegerValue); ok {
		return float64(i.IntegerValue)
	}
	return v.GetDoubleValue()
}

// compareNumbers compares exactly, beyond the integers that a double can hold.
// Neither is NaN.
func compareNumbers(a, b *pb.Value) int {
	i, aInt := a.GetValueType().(*pb.Value_IntegerValue)
	j, bInt := b.GetValueType().(*pb.Value_IntegerValue)
	switch {
	case aInt && bInt:
		return cmp.Compare(i.IntegerValue, j.IntegerValue)
	case aInt:
		return compareMixed(i.IntegerValue, b.GetDoubleValue())
	case bInt:
		return -compareMixed(j.IntegerValue, a.GetDoubleValue())
	}
	return cmp.Compare(a.GetDoubleValue(), b.GetDoubleValue())
}

func compareMixed(i int64, f float64) int {
	switch {
	case f >= 1<<63:
		return -1
	case f < -1<<63:
		return 1
	}
	whole := math.Trunc(f)
	return cmp.Or(cmp.Compare(i, int64(whole)), cmp.Compare(whole, f))
}
