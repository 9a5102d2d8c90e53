package cloudtasks

import "sync"

// batches remembers the operations of recent batch requests.
type batches struct {
	mu sync.Mutex
}
