package engine

// throttle is the model of the service's own slowing down of a queue.
type throttle struct{}
