package storage

import pb "cloud.google.com/go/datastore/apiv1/datastorepb"

// Synthetic is a state made up of the given entities, whose keys are complete
// and have the same partition, as if one commit had written them. Queries that
// are answered from elsewhere than the store run on such states.
func Synthetic(entities []*pb.Entity, version int64) (View, error) {
	t := newTables()
	for _, m := range entities {
		e, err := NewEntity(m)
		if err != nil {
			return View{}, err
		}
		e.seal(version, version)
		t.put(e.Key(), e)
	}
	return View{tables: t, Version: version}, nil
}
