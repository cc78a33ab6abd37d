package seen

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/lib/pq"
)

// kinds are the object types that stand for others: names of COCO.
var kinds = map[string][]string{
	"vehicle": {"car", "truck", "bus", "motorcycle", "bicycle", "boat", "train", "airplane"},
	"animal":  {"bird", "cat", "dog", "horse", "sheep", "cow", "elephant", "bear", "zebra", "giraffe"},
}

// objectTypes are the types to look for, in lower case as they are kept, each once.
func objectTypes(asked []string) []string {
	var types []string
	for _, name := range asked {
		name = strings.ToLower(name)
		types = append(types, name)
		types = append(types, kinds[name]...)
	}
	slices.Sort(types)
	return slices.Compact(types)
}

// Hours are hours of the day in minutes since midnight, From included and Before not. They go
// across midnight when From is the later one, and are the whole day when both are the same.
type Hours struct{ From, Before int }

// EventFilter says which events are meant. Its fields narrow each other; an empty one allows all.
type EventFilter struct {
	CameraIDs   []string
	RiskLevels  []string
	ObjectTypes []string // vehicle and animal stand for their kinds
	Reviewed    *bool
	MinScore    *int // events without a score are left out
	From        *time.Time
	Before      *time.Time
	Hours       *Hours
	Zone        string // IANA name, of Hours
}

// rangeOf are the conditions of a time range.
func rangeOf(column string, from, before *time.Time, args *arguments) []string {
	var conditions []string
	if from != nil {
		conditions = append(conditions, column+" >= "+args.add(*from)+"::timestamptz")
	}
	if before != nil {
		conditions = append(conditions, column+" < "+args.add(*before)+"::timestamptz")
	}
	return conditions
}

// hoursOf is the condition of hours of the day on a column.
func hoursOf(column string, hours Hours, zone string, args *arguments) string {
	if hours.From == hours.Before {
		return "true"
	}
	minute := fmt.Sprintf("(extract(hour FROM %[1]s AT TIME ZONE %[2]s::text) * 60 + extract(minute FROM %[1]s AT TIME ZONE %[2]s::text))",
		column, args.add(zone))
	both := " AND "
	if hours.From > hours.Before {
		both = " OR "
	}
	return fmt.Sprintf("(%s >= %d%s%s < %d)", minute, hours.From, both, minute, hours.Before)
}

// scan makes the statement of the events that fit. One of the filters besides the cameras is taken
// from an index with them, the one that is likely to leave the fewest rows.
func (f EventFilter) scan(args *arguments) scan {
	s := scan{table: "events", at: "r.started_at", id: "r.id", joined: "JOIN events AS j ON j.id = m.id"}
	driver := []string{""}
	takeDriver := func(name string, values []string) {
		driver = driver[:0]
		for _, value := range values {
			driver = append(driver, name+" = "+value)
		}
	}
	taken := false
	if len(f.ObjectTypes) > 0 {
		s.table, s.id, taken = "event_objects", "r.event_id", true
		var values []string
		for _, name := range objectTypes(f.ObjectTypes) {
			values = append(values, args.add(name)+"::text")
		}
		takeDriver("r.object_type", values)
		s.repeats = len(values) > 1
	}
	if levels := f.RiskLevels; len(levels) > 0 {
		if taken {
			s.rest = append(s.rest, func(args *arguments) string {
				return "j.risk_level = ANY (" + args.add(pq.Array(levels)) + "::text[])"
			})
		} else {
			var values []string
			for _, level := range levels {
				values = append(values, args.add(level)+"::text")
			}
			takeDriver("r.risk_level", values)
			taken = true
		}
	}
	if f.MinScore != nil {
		if taken {
			s.rest = append(s.rest, func(*arguments) string { return fmt.Sprintf("j.risk_score >= %d", *f.MinScore) })
		} else {
			// The index has tens. Of the first ten those below are looked at too: with a bound, since
			// there may be any number of them.
			lowest := *f.MinScore
			driver = driver[:0]
			for ten := lowest / 10; ten <= 10; ten++ {
				driver = append(driver, fmt.Sprintf("r.risk_score / 10 = %d", ten))
			}
			if lowest%10 != 0 {
				s.rest = append(s.rest, func(*arguments) string {
					return fmt.Sprintf("j.risk_score >= %d", lowest)
				})
			}
			taken = true
		}
	}
	if f.Reviewed != nil {
		if taken {
			s.rest = append(s.rest, func(*arguments) string { return fmt.Sprintf("j.reviewed = %t", *f.Reviewed) })
		} else {
			driver = []string{fmt.Sprintf("r.reviewed = %t", *f.Reviewed)}
		}
	}
	if f.Hours != nil {
		s.rest = append(s.rest, func(args *arguments) string { return hoursOf("m.at", *f.Hours, f.Zone, args) })
	}
	s.every = rangeOf(s.at, f.From, f.Before, args)
	s.branches = driver
	s.narrowToCameras(f.CameraIDs, args)
	return s
}

// narrowToCameras makes a branch of each camera and each branch so far, or where those would be too
// many looks at the camera of each row.
func (s *scan) narrowToCameras(cameraIDs []string, args *arguments) {
	if len(cameraIDs) == 0 {
		return
	}
	if len(cameraIDs)*len(s.branches) > maxBranches {
		s.rest = append(s.rest, func(args *arguments) string {
			return "j.camera_id = ANY (" + args.add(pq.Array(cameraIDs)) + "::text[])"
		})
		return
	}
	var branches []string
	for _, id := range cameraIDs {
		camera := "r.camera_id = " + args.add(id) + "::text"
		for _, branch := range s.branches {
			if branch != "" {
				branch = " AND " + branch
			}
			branches = append(branches, camera+branch)
		}
	}
	s.branches = branches
}

// DetectionFilter says which detections are meant. Its fields narrow each other; an empty one
// allows all.
type DetectionFilter struct {
	CameraIDs     []string
	ObjectTypes   []string // vehicle and animal stand for their kinds
	MinConfidence *float64 // detections without one are left out
	From          *time.Time
	Before        *time.Time
}

func (f DetectionFilter) scan(args *arguments) scan {
	s := scan{
		table: "detections", at: "r.detected_at", id: "r.id", branches: []string{""},
		joined: "JOIN detections AS j ON j.id = m.id",
	}
	s.every = rangeOf(s.at, f.From, f.Before, args)
	if len(f.ObjectTypes) > 0 {
		s.rest = append(s.rest, func(args *arguments) string {
			return "lower(j.object_type) = ANY (" + args.add(pq.Array(objectTypes(f.ObjectTypes))) + "::text[])"
		})
	}
	if f.MinConfidence != nil {
		s.rest = append(s.rest, func(args *arguments) string {
			return "j.confidence >= " + args.add(*f.MinConfidence) + "::double precision"
		})
	}
	s.narrowToCameras(f.CameraIDs, args)
	return s
}
