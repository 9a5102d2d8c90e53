package script

import (
	"fmt"

	"google.golang.org/protobuf/types/known/timestamppb"
)

// Project stands for the project in which a session runs the script.
const Project = "thisproject"

// refBase is where numbers begin that are references; refSpan is how many
// results a step may have that can be referred to.
const (
	refBase = 7_000_000_000_000_000_000
	refSpan = 1_000_000
)

// Ref is a number that stands for what the index-th result of a step holds: as
// an identifier, the one that was allocated; as a version, the one that was
// written.
func Ref(step, index int) int64 { return refBase + int64(step)*refSpan + int64(index) }

// CutRef undoes Ref.
func CutRef(n int64) (step, index int, ok bool) {
	if n < refBase || n > refBase+1_000_000*refSpan {
		return 0, 0, false
	}
	return int((n - refBase) / refSpan), int((n - refBase) % refSpan), true
}

// Time stands for the time of the index-th mutation of a step, as an
// update_time; as a read_time, for the time of the whole step.
func Time(step, index int) *timestamppb.Timestamp {
	return &timestamppb.Timestamp{Seconds: Ref(step, index)}
}

// Transaction stands for the transaction that a step began.
func Transaction(step int) []byte { return fmt.Appendf(nil, "tx:%d", step) }

// CutTransaction undoes Transaction.
func CutTransaction(b []byte) (step int, ok bool) {
	n, err := fmt.Sscanf(string(b), "tx:%d", &step)
	return step, err == nil && n == 1
}

// End as the index of a result stands for the end cursor, and Skipped for the
// skipped cursor.
const (
	End     = -1
	Skipped = -2
)

// Cursor stands for the cursor of the index-th result of a step.
func Cursor(step, index int) []byte { return fmt.Appendf(nil, "cursor:%d:%d", step, index) }

// CutCursor undoes Cursor.
func CutCursor(b []byte) (step, index int, ok bool) {
	n, err := fmt.Sscanf(string(b), "cursor:%d:%d", &step, &index)
	return step, index, err == nil && n == 2
}
