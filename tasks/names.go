package tasks

import (
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"strings"
	"time"
)

// newID mints an execution id: 128 random bits.
func newID() string {
	var b [16]byte
	rand.Read(b[:]) // never fails
	return hex.EncodeToString(b[:])
}

// hash makes task names of strings: Cloud Tasks wants them spread, not
// sequential. 160 bits: names that collide would lose a task.
func hash(parts ...string) string {
	sum := sha256.Sum256([]byte(strings.Join(parts, "\x00")))
	return hex.EncodeToString(sum[:20])
}

// hopName is the task name of one hop: that it exists proves this very task.
func hopName(e Envelope) string { return hash(e.Key()) }

// callerName is the task name behind EnqueueOptions.Name.
func callerName(namespace, class, name string) string {
	return hash("name", namespace, class, name)
}

// slotName is the name of a coalescing class's task: one for each key and slot.
func slotName(namespace, class, lockKey string, slot time.Time) string {
	return hash("slot", namespace, class, lockKey, fmt.Sprint(slot.UnixMilli()))
}
