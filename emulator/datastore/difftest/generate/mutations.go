package generate

import (
	"math"

	pb "cloud.google.com/go/datastore/apiv1/datastorepb"
	"github.com/latchwork/latchwork/emulator/datastore/difftest/script"
)

// refine adds to a mutation what mutations may have: a mask, transforms, a
// version that the stored entity must have.
func (g *generator) refine(m *pb.Mutation) {
	if g.masks && m.GetDelete() == nil && g.one(2) {
		m.PropertyMask = g.mask()
	}
	if g.transforms && m.GetDelete() == nil && g.one(2) {
		for range g.between(1, 3) {
			m.PropertyTransforms = append(m.PropertyTransforms, g.transform())
		}
	}
	if g.versions && g.one(2) {
		g.conflict(m)
	}
}

func (g *generator) mask() *pb.PropertyMask {
	m := &pb.PropertyMask{}
	for range g.between(0, 3) {
		name := g.name()
		if g.one(10) {
			name = pick(g, "__key__", "none", "p.x.z", "`p`")
		}
		m.Paths = append(m.Paths, name)
	}
	return m
}

// conflict demands a version, often the right one.
func (g *generator) conflict(m *pb.Mutation) {
	var last []int
	key := script.KeyText(mutated(m))
	index := map[int]int{}
	for _, s := range g.s.Steps {
		c, ok := s.Request.(*pb.CommitRequest)
		if !ok {
			continue
		}
		for i, o := range c.GetMutations() {
			if script.KeyText(mutated(o)) == key {
				last, index[s.ID] = append(last, s.ID), i
			}
		}
	}
	version := pick[int64](g, 0, 1, 1, -1, math.MaxInt64)
	time := script.Time(99, 0)
	if len(last) > 0 && !g.one(5) {
		step := last[len(last)-1]
		if g.one(4) {
			step = pick(g, last...)
		}
		version, time = script.Ref(step, index[step]), script.Time(step, index[step])
	}
	if g.one(3) {
		m.ConflictDetectionStrategy = &pb.Mutation_UpdateTime{UpdateTime: time}
	} else {
		m.ConflictDetectionStrategy = &pb.Mutation_BaseVersion{BaseVersion: version}
	}
	m.ConflictResolutionStrategy = pick(g, pb.Mutation_STRATEGY_UNSPECIFIED, pb.Mutation_SERVER_VALUE, pb.Mutation_FAIL, pb.Mutation_FAIL)
}

func mutated(m *pb.Mutation) *pb.Key {
	switch op := m.GetOperation().(type) {
	case *pb.Mutation_Insert:
		return op.Insert.GetKey()
	case *pb.Mutation_Update:
		return op.Update.GetKey()
	case *pb.Mutation_Upsert:
		return op.Upsert.GetKey()
	case *pb.Mutation_Delete:
		return op.Delete
	}
	return nil
}

func (g *generator) transform() *pb.PropertyTransform {
	t := &pb.PropertyTransform{Property: g.name()}
	number := func() *pb.Value {
		if g.one(3) {
			return g.double()
		}
		return integer(pick[int64](g, 1, 2, -3, 1<<62, -(1 << 62)))
	}
	some := func() *pb.ArrayValue {
		a := &pb.ArrayValue{}
		for range g.between(0, 3) {
			a.Values = append(a.Values, g.scalar())
		}
		return a
	}
	switch g.IntN(6) {
	case 0:
		t.Property = "now"
		t.TransformType = &pb.PropertyTransform_SetToServerValue{SetToServerValue: pb.PropertyTransform_REQUEST_TIME}
	case 1:
		t.TransformType = &pb.PropertyTransform_Increment{Increment: number()}
	case 2:
		t.TransformType = &pb.PropertyTransform_Maximum{Maximum: number()}
	case 3:
		t.TransformType = &pb.PropertyTransform_Minimum{Minimum: number()}
	case 4:
		t.TransformType = &pb.PropertyTransform_AppendMissingElements{AppendMissingElements: some()}
	default:
		t.TransformType = &pb.PropertyTransform_RemoveAllFromArray{RemoveAllFromArray: some()}
	}
	return t
}
