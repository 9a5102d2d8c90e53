package encoding

import (
	"encoding/binary"

	pb "cloud.google.com/go/datastore/apiv1/datastorepb"
)

// A path element's identifier follows its kind: numeric identifiers, negative
// ones first, sort before names.
const (
	tagNoID = 0x08 // incomplete keys; never stored
	tagID   = 0x10
	tagName = 0x20
)

// AppendPath appends the path of k, without its partition: parents sort before
// their children, an element by kind and then by identifier.
func AppendPath(dst []byte, k *pb.Key) []byte {
	return append(AppendPathPrefix(dst, k), 0, 0)
}

// AppendPathPrefix is AppendPath without the end mark: what the paths of k and
// of all its descendants start with.
func AppendPathPrefix(dst []byte, k *pb.Key) []byte {
	for _, e := range k.GetPath() {
		dst = appendText(dst, e.GetKind())
		switch id := e.GetIdType().(type) {
		case *pb.Key_PathElement_Id:
			dst = appendID(dst, id.Id)
		case *pb.Key_PathElement_Name:
			dst = append(dst, tagName)
			dst = appendText(dst, id.Name)
		default:
			dst = append(dst, tagNoID)
		}
	}
	return dst
}

func appendID(dst []byte, id int64) []byte {
	return binary.BigEndian.AppendUint64(append(dst, tagID), uint64(id)^1<<63)
}

// CutPath decodes a path and returns what follows it.
func CutPath(s string) (path []*pb.Key_PathElement, rest string, err error) {
	for {
		var e pb.Key_PathElement
		if e.Kind, s, err = cutText(s); err != nil {
			return nil, "", err
		}
		if e.Kind == "" {
			return path, s, nil
		}
		if s == "" {
			return nil, "", errCorrupt
		}
		tag := s[0]
		s = s[1:]
		switch tag {
		case tagID:
			if len(s) < 8 {
				return nil, "", errCorrupt
			}
			e.IdType = &pb.Key_PathElement_Id{Id: int64(binary.BigEndian.Uint64([]byte(s[:8])) ^ 1<<63)}
			s = s[8:]
		case tagName:
			var name string
			if name, s, err = cutText(s); err != nil {
				return nil, "", err
			}
			e.IdType = &pb.Key_PathElement_Name{Name: name}
		case tagNoID:
		default:
			return nil, "", errCorrupt
		}
		path = append(path, &e)
	}
}

// appendKey appends a key as a property value: partition first, then path.
// A key without a project belongs to the given one.
func appendKey(dst []byte, k *pb.Key, project string) []byte {
	p := k.GetPartitionId()
	if p.GetProjectId() != "" {
		project = p.GetProjectId()
	}
	dst = appendText(dst, project)
	dst = appendText(dst, p.GetDatabaseId())
	dst = appendText(dst, p.GetNamespaceId())
	return AppendPath(dst, k)
}

func cutKey(s string) (k *pb.Key, rest string, err error) {
	p := &pb.PartitionId{}
	for _, field := range []*string{&p.ProjectId, &p.DatabaseId, &p.NamespaceId} {
		if *field, s, err = cutText(s); err != nil {
			return nil, "", err
		}
	}
	path, rest, err := CutPath(s)
	if err != nil {
		return nil, "", err
	}
	return &pb.Key{PartitionId: p, Path: path}, rest, nil
}
