package encoding

import "strings"

// KindsPrefix is what the kind rows of a namespace start with.
func KindsPrefix(namespace string) string {
	return string(appendText([]byte{rowKind}, namespace))
}

// PropertiesPrefix is what the property rows of a namespace start with.
func PropertiesPrefix(namespace string) string {
	return string(appendText([]byte{rowProperty}, namespace))
}

// CutPropertyRow returns the parts of a property row; rest is value and path.
func CutPropertyRow(row string) (namespace, kind, property, rest string, err error) {
	if !strings.HasPrefix(row, string(rune(rowProperty))) {
		return "", "", "", "", errCorrupt
	}
	rest = row[1:]
	for _, part := range []*string{&namespace, &kind, &property} {
		if *part, rest, err = cutText(rest); err != nil {
			return "", "", "", "", err
		}
	}
	return namespace, kind, property, rest, nil
}

// Representation is how the value at the start of a row's rest is represented
// in an index, as metadata queries name it, and where the rows of the next
// representation start, relative to what comes before the value.
func Representation(rest string) (name, next string, err error) {
	if rest == "" {
		return "", "", errCorrupt
	}
	last := rest[0]
	switch rest[0] {
	case tagNull:
		name = "NULL"
	case tagInt:
		name = "INT64"
	case tagFalse, tagTrue:
		name, last = "BOOLEAN", tagTrue
	case tagText:
		name = "STRING"
	case tagDouble:
		name = "DOUBLE"
	case tagGeo:
		name = "POINT"
	case tagKey:
		name = "REFERENCE"
	default:
		return "", "", errCorrupt
	}
	return name, string([]byte{last + 1}), nil
}
