package planning

// merge is the results of several streams in the query's order, each once: a
// heap of those streams that have a result.
type merge struct {
	q       *Query
	streams []*stream
	last    string
	any     bool // there is a last one
}

func newMerge(q *Query, streams []*stream) *merge {
	m := &merge{q: q}
	for _, s := range streams {
		if s.next() {
			m.streams = append(m.streams, s)
		}
	}
	for i := len(m.streams)/2 - 1; i >= 0; i-- {
		m.sink(i)
	}
	return m
}

// next returns the next result. No stream goes further than to find it.
func (m *merge) next() (Hit, bool) {
	for len(m.streams) > 0 {
		if m.any && m.streams[0].head.at == m.last {
			m.advance() // shown; or another disjunct has shown it
			continue
		}
		h := m.streams[0].head
		m.last, m.any = h.at, true
		return h, true
	}
	return Hit{}, false
}

// advance moves the first stream on and puts it where it belongs then.
func (m *merge) advance() {
	if !m.streams[0].next() {
		last := len(m.streams) - 1
		m.streams[0] = m.streams[last]
		m.streams = m.streams[:last]
	}
	m.sink(0)
}

func (m *merge) sink(i int) {
	for {
		least := i
		for child := 2*i + 1; child <= 2*i+2 && child < len(m.streams); child++ {
			if m.q.before(m.streams[child].head.at, m.streams[least].head.at) {
				least = child
			}
		}
		if least == i {
			return
		}
		m.streams[i], m.streams[least] = m.streams[least], m.streams[i]
		i = least
	}
}
