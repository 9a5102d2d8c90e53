package filter

import (
	"cmp"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/types/known/durationpb"
	"google.golang.org/protobuf/types/known/timestamppb"
)

// valueTest returns the test of a field's value, or what the operator can be
// followed by.
func valueTest(f protoreflect.FieldDescriptor, op, text string) (test func(protoreflect.Value) bool, wanted string) {
	if op == "=~" && f.Kind() != protoreflect.StringKind {
		return nil, "= and the like, being no text"
	}
	holds := ordered(op)
	switch f.Kind() {
	case protoreflect.StringKind:
		compare, err := texts(op, text)
		if err != nil {
			return nil, "a regular expression"
		}
		return func(v protoreflect.Value) bool { return compare(v.String()) }, ""
	case protoreflect.EnumKind:
		value := f.Enum().Values().ByName(protoreflect.Name(strings.ToUpper(text)))
		if value == nil || op != "=" && op != ":" {
			return nil, "= != or : and one of its names"
		}
		return func(v protoreflect.Value) bool { return v.Enum() == value.Number() }, ""
	case protoreflect.BoolKind:
		want, err := strconv.ParseBool(strings.ToLower(text))
		if err != nil || op != "=" && op != ":" {
			return nil, "= != or : and true or false"
		}
		return func(v protoreflect.Value) bool { return v.Bool() == want }, ""
	case protoreflect.Int32Kind, protoreflect.Int64Kind, protoreflect.DoubleKind:
		want, err := strconv.ParseFloat(text, 64)
		if err != nil {
			return nil, "a number"
		}
		return func(v protoreflect.Value) bool { return holds(cmp.Compare(number(v), want)) }, ""
	case protoreflect.MessageKind:
		return messageTest(f.Message(), holds, text)
	}
	return nil, "nothing: it can't be compared"
}

func number(v protoreflect.Value) float64 {
	switch n := v.Interface().(type) {
	case int32:
		return float64(n)
	case int64:
		return float64(n)
	}
	return v.Float()
}

func messageTest(of protoreflect.MessageDescriptor, holds func(int) bool, text string) (func(protoreflect.Value) bool, string) {
	switch of.FullName() {
	case "google.protobuf.Timestamp":
		want, err := instant(text)
		if err != nil {
			return nil, "a time as 2026-01-31T12:00:00Z or a day as 2026-01-31"
		}
		return func(v protoreflect.Value) bool {
			got, ok := v.Message().Interface().(*timestamppb.Timestamp)
			return ok && holds(got.AsTime().Compare(want))
		}, ""
	case "google.protobuf.Duration":
		want, err := time.ParseDuration(text)
		if err != nil {
			return nil, "a duration as 1.5s or 2h"
		}
		return func(v protoreflect.Value) bool {
			got, ok := v.Message().Interface().(*durationpb.Duration)
			return ok && holds(cmp.Compare(got.AsDuration(), want))
		}, ""
	}
	names := make([]string, of.Fields().Len())
	for i := range names {
		names[i] = string(of.Fields().Get(i).Name())
	}
	slices.Sort(names)
	return nil, ":* only (its fields are " + strings.Join(names, ", ") + ")"
}

// ordered returns the test that an operator makes of a comparison's sign.
func ordered(op string) func(sign int) bool {
	switch op {
	case "<":
		return func(sign int) bool { return sign < 0 }
	case "<=":
		return func(sign int) bool { return sign <= 0 }
	case ">":
		return func(sign int) bool { return sign > 0 }
	case ">=":
		return func(sign int) bool { return sign >= 0 }
	}
	return func(sign int) bool { return sign == 0 }
}

// texts compares texts.
func texts(op, want string) (func(string) bool, error) {
	switch op {
	case "=~":
		pattern, err := regexp.Compile(want)
		if err != nil {
			return nil, err
		}
		return pattern.MatchString, nil
	case ":":
		want = strings.ToLower(want)
		return func(got string) bool { return strings.Contains(strings.ToLower(got), want) }, nil
	}
	want = strings.ToLower(want)
	holds := ordered(op)
	return func(got string) bool { return holds(strings.Compare(strings.ToLower(got), want)) }, nil
}

// instant reads a time, or a day, which is its first moment in UTC.
func instant(text string) (time.Time, error) {
	if len(text) == len(time.DateOnly) {
		return time.Parse(time.DateOnly, text)
	}
	return time.Parse(time.RFC3339Nano, text)
}
