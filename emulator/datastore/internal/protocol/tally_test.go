package protocol

import (
	"math"
	"math/big"
	"testing"

	pb "cloud.google.com/go/datastore/apiv1/datastorepb"
	"github.com/latchwork/latchwork/emulator/datastore/internal/encoding"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/structpb"
	"google.golang.org/protobuf/types/known/timestamppb"
	"pgregory.net/rapid"
)

var nullValue = &pb.Value{ValueType: &pb.Value_NullValue{NullValue: structpb.NullValue_NULL_VALUE}}

func tallyOf(values ...*pb.Value) *tally {
	t := new(tally)
	for _, v := range values {
		b, _ := encoding.AppendValue(nil, v, "p")
		t.add(string(b))
	}
	return t
}

func TestTally(t *testing.T) {
	text := &pb.Value{ValueType: &pb.Value_StringValue{StringValue: "1234567"}} // as long as a number, encoded
	yes := &pb.Value{ValueType: &pb.Value_BooleanValue{BooleanValue: true}}
	second := &pb.Value{ValueType: &pb.Value_TimestampValue{TimestampValue: &timestamppb.Timestamp{Seconds: 1}}}
	for name, c := range map[string]struct {
		values       []*pb.Value
		sum, average *pb.Value
	}{
		"nothing":            {nil, integerValue(0), nullValue},
		"no numbers":         {[]*pb.Value{nullValue, text, yes}, integerValue(0), nullValue},
		"integers":           {[]*pb.Value{integerValue(1), text, integerValue(2)}, integerValue(3), doubleValue(1.5)},
		"times":              {[]*pb.Value{second, integerValue(1)}, integerValue(1_000_001), doubleValue(500_000.5)},
		"mixed":              {[]*pb.Value{integerValue(1), doubleValue(0.5)}, doubleValue(1.5), doubleValue(0.75)},
		"a double alone":     {[]*pb.Value{doubleValue(2)}, doubleValue(2), doubleValue(2)},
		"greatest":           {[]*pb.Value{integerValue(math.MaxInt64)}, integerValue(math.MaxInt64), doubleValue(math.MaxInt64)},
		"over":               {[]*pb.Value{integerValue(math.MaxInt64), integerValue(1)}, doubleValue(1 << 63), doubleValue(1 << 62)},
		"under":              {[]*pb.Value{integerValue(math.MinInt64), integerValue(-1)}, doubleValue(-(1 << 63)), doubleValue(-(1 << 62))},
		"over and back":      {[]*pb.Value{integerValue(math.MaxInt64), integerValue(1), integerValue(-2)}, integerValue(math.MaxInt64 - 1), doubleValue((math.MaxInt64 - 1) / 3.0)},
		"infinity":           {[]*pb.Value{doubleValue(math.Inf(1)), integerValue(1)}, doubleValue(math.Inf(1)), doubleValue(math.Inf(1))},
		"opposed infinities": {[]*pb.Value{doubleValue(math.Inf(1)), doubleValue(math.Inf(-1))}, doubleValue(math.NaN()), doubleValue(math.NaN())},
		"NaN wins":           {[]*pb.Value{doubleValue(math.NaN()), integerValue(1)}, doubleValue(math.NaN()), doubleValue(math.NaN())},
	} {
		tally := tallyOf(c.values...)
		if got := tally.sum(); !proto.Equal(got, c.sum) {
			t.Errorf("%s: sum %v; want %v", name, got, c.sum)
		}
		if got := tally.average(); !proto.Equal(got, c.average) {
			t.Errorf("%s: average %v; want %v", name, got, c.average)
		}
	}
}

// TestTallyIsExact: sums of integers are what unbounded ones give.
func TestTallyIsExact(t *testing.T) {
	rapid.Check(t, func(r *rapid.T) {
		ints := rapid.SliceOf(rapid.OneOf(rapid.Int64(), rapid.SampledFrom([]int64{math.MaxInt64, math.MinInt64, 1, -1}))).Draw(r, "ints")
		var values []*pb.Value
		exact := new(big.Int)
		for _, i := range ints {
			values = append(values, integerValue(i))
			exact.Add(exact, big.NewInt(i))
		}
		switch sum := tallyOf(values...).sum().GetValueType().(type) {
		case *pb.Value_IntegerValue:
			if !exact.IsInt64() || exact.Int64() != sum.IntegerValue {
				r.Fatalf("sum of %v is %d; want %v", ints, sum.IntegerValue, exact)
			}
		case *pb.Value_DoubleValue:
			want, _ := new(big.Float).SetInt(exact).Float64()
			if exact.IsInt64() || math.Abs(sum.DoubleValue-want) > math.Abs(want)*1e-15 {
				r.Fatalf("sum of %v is %g; want %v", ints, sum.DoubleValue, exact)
			}
		}
	})
}
