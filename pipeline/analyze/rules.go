package analyze

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"
)

// RulesName names the built-in scorer in events.
const RulesName = "rules"

// Rules is the built-in scorer. It adds points for what was seen, how many at once, for how long
// and at what hour; the tables below are all there is to it. It knows nothing of the place and says
// in its reasoning that it is a rule and no judgement.
//
//	what (the highest counts)     how many at once    how long        hour
//	person             35         2       +5          ≥ 10 s   +5     22:00 to 05:59  +20
//	truck, bus         25         3       +10         ≥ 30 s  +10     06:00 to 21:59    0
//	car, motorcycle    20         4+      +15         ≥ 60 s  +15
//	bicycle            18
//	motion, others     15
//	dog                10
//	cat, bird           5
type Rules struct {
	location *time.Location
}

// NewRules makes a scorer. The hour counts in location, the place of the cameras; time.Local when
// nil.
func NewRules(location *time.Location) *Rules {
	if location == nil {
		location = time.Local
	}
	return &Rules{location: location}
}

const otherPoints = 15

// points is what a kind of object counts.
func points(objectType string) int {
	switch objectType {
	case "person":
		return 35
	case "truck", "bus":
		return 25
	case "car", "motorcycle":
		return 20
	case "bicycle":
		return 18
	case "dog":
		return 10
	case "cat", "bird":
		return 5
	default:
		return otherPoints
	}
}

// Name returns RulesName.
func (*Rules) Name() string { return RulesName }

// Analyze scores a scene. It never fails.
func (r *Rules) Analyze(_ context.Context, scene Scene) (Verdict, error) {
	types := countTypes(scene.Objects)
	what, whatPoints := mostSerious(types)
	most := mostAtOnce(scene.Objects)
	lasted := max(0, scene.EndedAt.Sub(scene.StartedAt))
	start := scene.StartedAt.In(r.location)
	manyPoints, longPoints, hourPoints := pointsForMany(most), pointsForLong(lasted), pointsForHour(start.Hour())

	list := strings.Join(types.names(), ", ")
	return Verdict{
		RiskScore: min(100, whatPoints+manyPoints+longPoints+hourPoints),
		Summary: fmt.Sprintf("%s on camera %s: up to %s at once over %s, at %s",
			capitalise(list), scene.CameraName, plural(most, "object"), inWords(lasted), start.Format("15:04")),
		Reasoning: fmt.Sprintf("Built-in rules, no AI model: what was seen (%s) %d points, how many at once (%d) %d, how long (%s) %d, hour (%s) %d.",
			what, whatPoints, most, manyPoints, inWords(lasted), longPoints, start.Format("15:04"), hourPoints),
	}, nil
}

// typeCounts counts detections by type.
type typeCounts map[string]int

func countTypes(objects []Object) typeCounts {
	counts := typeCounts{}
	for _, object := range objects {
		counts[object.Type]++
	}
	return counts
}

// names lists the types, the most frequent first.
func (t typeCounts) names() []string {
	return slices.SortedFunc(maps.Keys(t), func(a, b string) int {
		return cmp.Or(cmp.Compare(t[b], t[a]), strings.Compare(a, b))
	})
}

// mostSerious returns the type that counts most.
func mostSerious(types typeCounts) (name string, value int) {
	for _, candidate := range types.names() {
		if p := points(candidate); p > value {
			name, value = candidate, p
		}
	}
	return name, value
}

// mostAtOnce is the largest number of objects in one image.
func mostAtOnce(objects []Object) int {
	counts := map[int64]int{}
	most := 0
	for _, object := range objects {
		counts[object.Image]++
		most = max(most, counts[object.Image])
	}
	return most
}

func pointsForMany(objects int) int {
	return 5 * (min(max(objects, 1), 4) - 1)
}

func pointsForLong(lasted time.Duration) int {
	switch {
	case lasted >= time.Minute:
		return 15
	case lasted >= 30*time.Second:
		return 10
	case lasted >= 10*time.Second:
		return 5
	default:
		return 0
	}
}

func pointsForHour(hour int) int {
	if hour >= 22 || hour < 6 {
		return 20
	}
	return 0
}

func inWords(d time.Duration) string {
	if d < time.Second {
		return "a moment"
	}
	return d.Round(time.Second).String()
}

func plural(n int, noun string) string {
	if n == 1 {
		return "1 " + noun
	}
	return fmt.Sprintf("%d %ss", n, noun)
}

func capitalise(s string) string {
	if s == "" {
		return "Nothing"
	}
	return strings.ToUpper(s[:1]) + s[1:]
}
