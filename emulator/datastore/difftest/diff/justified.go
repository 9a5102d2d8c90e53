package diff

import "slices"

// Justified is the table of justified differences.
func Justified() []Entry {
	return slices.Concat(firestore(), firestoreErrors(), older(), olderErrors(), both())
}
