package engine

// An indexed is an item that knows its place in a heap.
type indexed[T any] interface {
	before(T) bool
	place() *int32
}

// Places of items that are in no heap.
const (
	nowhere int32 = -1 // may come back
	gone    int32 = -2 // never will
)

// A heap keeps the first of its items at index 0. Items can be moved and
// removed from the middle.
type heap[T indexed[T]] []T

func (h *heap[T]) push(x T) {
	*h = append(*h, x)
	h.up(len(*h) - 1)
}

// remove takes the item at index i out.
func (h *heap[T]) remove(i int) T {
	s := *h
	x, last := s[i], len(s)-1
	s[i] = s[last]
	var none T
	s[last] = none
	*h = s[:last]
	if i < last {
		h.fix(i)
	}
	*x.place() = nowhere
	return x
}

// fix restores the order after the item at index i has changed.
func (h *heap[T]) fix(i int) {
	if !h.down(i) {
		h.up(i)
	}
}

func (h *heap[T]) up(i int) {
	s := *h
	x := s[i]
	for i > 0 {
		parent := (i - 1) / 2
		if !x.before(s[parent]) {
			break
		}
		s[i] = s[parent]
		*s[i].place() = int32(i)
		i = parent
	}
	s[i] = x
	*x.place() = int32(i)
}

func (h *heap[T]) down(i int) (moved bool) {
	s := *h
	x, start := s[i], i
	for {
		child := 2*i + 1
		if child >= len(s) {
			break
		}
		if right := child + 1; right < len(s) && s[right].before(s[child]) {
			child = right
		}
		if !s[child].before(x) {
			break
		}
		s[i] = s[child]
		*s[i].place() = int32(i)
		i = child
	}
	s[i] = x
	*x.place() = int32(i)
	return i > start
}
