package engine

import (
	"crypto/sha256"
	"encoding/binary"
	"math"
	"time"
)

// maxDuplicateDelay bounds how long a duplicate comes after the original.
const maxDuplicateDelay = 250 * time.Millisecond

// chooseDuplicate says whether d is delivered twice and how much later the
// second delivery starts: half of them at once, the others within
// maxDuplicateDelay, often after the original has been answered.
func (o *Options) chooseDuplicate(d *Delivery) (delay time.Duration, chosen bool) {
	if o.Duplicate <= 0 {
		return 0, false
	}
	text := make([]byte, 0, 256)
	text = binary.BigEndian.AppendUint64(text, o.Seed)
	text = append(text, d.Queue...)
	text = append(text, '/')
	text = append(text, d.ID...)
	text = binary.BigEndian.AppendUint64(text, uint64(d.Attempt))
	sum := sha256.Sum256(text)
	dice := float64(binary.BigEndian.Uint64(sum[:])>>11) / (1 << 53) // [0, 1)
	if dice >= o.Duplicate {
		return 0, false
	}
	later := binary.BigEndian.Uint32(sum[8:])
	if later < math.MaxUint32/2 {
		return 0, true
	}
	return time.Duration(later) * time.Nanosecond % maxDuplicateDelay, true
}
