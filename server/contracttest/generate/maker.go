package generate

import (
	"encoding/json"
	"fmt"
	"maps"
	"math"
	"math/rand/v2"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/getkin/kin-openapi/openapi3"
)

// maker makes values that fit a schema.
type maker struct{ *rand.Rand }

// one is true once in n times.
func (m maker) one(n int) bool { return m.IntN(n) == 0 }

// of chooses one of several. It is a function of the maker in all but form: methods have no type
// parameters.
func (m maker) of(list []string) string { return list[m.IntN(len(list))] }

func choose[T any](m maker, list []T) T { return list[m.IntN(len(list))] }

// pair is one parameter of a query, not yet encoded.
type pair struct{ name, value string }

// member is one key of an object, its value as JSON text.
type member struct{ key, value string }

// forms make texts that fit a pattern, and texts that do not. A pattern that is not here must be
// added. A name is here where the contract says the rest in words alone.
var forms = map[string]*form{
	`^[0-9]{4}-(0[1-9]|1[0-2])-(0[1-9]|[12][0-9]|3[01])[Tt]([01][0-9]|2[0-3]):[0-5][0-9]:([0-5][0-9]|60)(\.[0-9]{1,9})?([Zz]|[+-]([01][0-9]|2[0-3]):[0-5][0-9])?$`: {
		right: func(m maker, _ *openapi3.Schema) string { return m.moment() },
		wrong: append([]string{"2025-12-23"}, wrongMoments...),
	},
	// The same, or a date alone.
	`^[0-9]{4}-(0[1-9]|1[0-2])-(0[1-9]|[12][0-9]|3[01])([Tt]([01][0-9]|2[0-3]):[0-5][0-9]:([0-5][0-9]|60)(\.[0-9]{1,9})?([Zz]|[+-]([01][0-9]|2[0-3]):[0-5][0-9])?)?$`: {
		right: func(m maker, _ *openapi3.Schema) string {
			text := m.moment()
			if m.one(2) {
				return text[:len("2006-01-02")]
			}
			return text
		},
		wrong: append([]string{"2025-02-29", "2025-13-01", "2025-12-23T", "2025-12", "20251223"}, wrongMoments...),
	},
	// The id of a camera.
	`^[^/\x00]{1,255}$`: {
		right: func(m maker, schema *openapi3.Schema) string {
			if m.one(2) {
				return m.wordsWithout("/\x00", schema)
			}
			return m.of([]string{"front_door", "Back Door", "3f2504e0-4f89-11d3-9a0c-0305e82c3301", "..", "前", "a%2Fb", "é'; --", strings.Repeat("x", 255)})
		},
		wrong: []string{"a/b", "/", "a\x00", "\x00", "../../etc/passwd"},
	},
	// Hours of the day.
	`^([01][0-9]|2[0-3]):[0-5][0-9]-([01][0-9]|2[0-3]):[0-5][0-9]$`: {
		right: func(m maker, _ *openapi3.Schema) string {
			return fmt.Sprintf("%02d:%02d-%02d:%02d", m.IntN(24), m.IntN(60), m.IntN(24), m.IntN(60))
		},
		wrong: []string{
			"22:00", "22:00-", "-06:00", "24:00-06:00", "22:60-06:00", "22-06", "9:00-10:00", "22:00-24:00", "22:00 - 06:00", "22:00–06:00",
			"22:00-06:00\n", "22:00-06:00-07:00", "２2:00-06:00",
		},
	},
	"time_zone": zoneForm,
	// Everything but some characters.
	`^[^\x00]*$`:                 {right: without("\x00"), wrong: []string{"\x00", "a\x00b"}},
	`^[^\x00,]+$`:                {right: without("\x00,"), wrong: []string{"\x00", "a\x00b"}},
	`^[^\x00]*[^\x00 ][^\x00]*$`: {right: maker.name, wrong: []string{"\x00", "a\x00b", " ", "   "}},
	"folder_path": {
		right: maker.folder,
		wrong: []string{
			".", "..", "../x", "a/b", "./a/b", "/", "/etc", "/etc/passwd", "../../x", ".hidden", "@eaDir", "#recycle", "lost+found", "x/../..",
			"\x00", "a\x00b", strings.Repeat("x", 256), strings.Repeat("é", 128),
		},
	},
	// A position of the live stream.
	`^[0-9A-Za-z]{1,64}-[0-9]{1,19}$`: {wrong: []string{"x", "-1", "a-", "a-b", "a-1 ", "\x00", "é-1"}},
	// A cursor.
	`^[A-Za-z0-9_-]{8,200}$`: {
		wrong: []string{"x", "AAAA", "eyJpZCI6MX0", strings.Repeat("A", 34), "a=", "a b", "../x", "\x00", "é"},
	},
}

// form makes texts of a pattern. Without right ones it is for what only an answer can give, such as
// a cursor.
type form struct {
	right func(maker, *openapi3.Schema) string
	wrong []string
}

// zoneForm are time zones of the IANA database.
var zoneForm = &form{
	right: func(m maker, _ *openapi3.Schema) string {
		return m.of([]string{
			"UTC", "Europe/Berlin", "America/New_York", "America/Argentina/Buenos_Aires", "America/St_Johns", "Asia/Kathmandu", "Africa/Casablanca",
			"Pacific/Kiritimati", "Pacific/Pago_Pago", "Australia/Lord_Howe", "Antarctica/Troll", "Etc/GMT+12", "Etc/GMT-14", "EST5EDT",
		})
	},
	wrong: []string{
		"Nowhere", "Europe/Nowhere", "Local", "Europe", "Europe/", "/Europe/Berlin", "../UTC", "a b", "+02:00", "UTC+2", "Europe//Berlin", "Europe/./Berlin", "posix/UTC", "right/UTC", "localtime", "é", "\x00",
		"UTC\x00", " UTC", "'UTC'",
	},
}

// formOf returns the form of the texts of a name, nil when any will do.
func formOf(name string, schema *openapi3.Schema) *form {
	if named := forms[name]; named != nil {
		return named
	}
	return forms[schema.Pattern]
}

// without makes texts of anything but some characters.
func without(excluded string) func(maker, *openapi3.Schema) string {
	return func(m maker, schema *openapi3.Schema) string { return m.wordsWithout(excluded, schema) }
}

func (m maker) wordsWithout(excluded string, schema *openapi3.Schema) string {
	drop := func(r rune) rune {
		if strings.ContainsRune(excluded, r) {
			return -1
		}
		return r
	}
	text := strings.Map(drop, m.words(int(schema.MinLength), maxLength(schema))) //nolint:gosec // small
	if text == "" && schema.Pattern != `^[^\x00]*$` {
		return "x"
	}
	return text
}

// name is a text with more than spaces.
func (m maker) name(schema *openapi3.Schema) string {
	text := m.wordsWithout("\x00", schema)
	if strings.Trim(text, " ") == "" {
		return "x"
	}
	return text
}

// folder is the name of a folder, new or not, that every file system takes.
func (m maker) folder(*openapi3.Schema) string {
	if m.one(2) {
		return m.of([]string{"shed", "Front Door", "front-door", "Türe", "カメラ", "a b", "shed/", "./shed", "c" + strings.Repeat("x", 254)})
	}
	text := "k" + m.wordsWithout("/\x00", &openapi3.Schema{MinLength: 1, MaxLength: new(uint64(60))})
	return strings.ToValidUTF8(text[:min(len(text), 200)], "")
}

// canMake tells whether right values of a parameter can be made up.
func canMake(parameter *openapi3.Parameter) bool {
	form := formOf(parameter.Name, parameter.Schema.Value)
	return form == nil || form.right != nil
}

// canMakeKey tells whether right values of a key can be made up.
func canMakeKey(key string, schema *openapi3.Schema) bool {
	for _, required := range schema.Required {
		if !canMakeKey(required, schema.Properties[required].Value) {
			return false
		}
	}
	form := formOf(key, schema)
	return form == nil || form.right != nil
}

// wrongMoments are what is no RFC 3339 time, nor a date.
var wrongMoments = []string{
	"now", "1766480400", "2025-02-29T00:00:00Z", "2025-04-31T00:00:00", "2025-00-10T00:00:00Z", "2025-13-01T00:00:00Z",
	"2025-12-00T00:00:00Z", "2025-12-32T00:00:00Z", "2025-12-23T24:00:00Z", "2025-12-23T09:60:00Z", "2025-12-23T09:00:61Z",
	"2025-12-23T09:00Z", "2025-12-23T09:00:00.Z", "2025-12-23T09:00:00.1234567890Z", "2025-12-23T09:00:00+24:00", "2025-12-23T09:00:00+05",
	"2025-12-23T09:00:00 05:30", "2025-12-23 09:00:00Z", "25-12-23T09:00:00Z", "12025-12-23T09:00:00Z", " 2025-12-23T09:00:00Z",
	"2025-12-23T09:00:00Z\n", "２０２５-12-23T09:00:00Z", "2025-12-23T09:00:00Ž", "null", "'; DROP TABLE gpu_stats; --",
}

// moment is an RFC 3339 time, with or without zone.
func (m maker) moment() string {
	if m.one(8) { // the first and the last ones that can be written
		return m.of([]string{
			"9999-12-31T23:59:59.999999999Z", "9999-12-31T23:59:60Z", "9999-12-31T23:59:59-23:59", "0000-01-01T00:00:00+23:59", "0000-01-01t00:00:00",
		})
	}
	at := time.Date(m.IntN(10_000), time.Month(1+m.IntN(12)), 1+m.IntN(28), m.IntN(24), m.IntN(60), m.IntN(60), 0, time.UTC)
	text := at.Format("2006-01-02") + m.of([]string{"T", "t"}) + at.Format("15:04:05")
	if m.one(10) {
		text = text[:len(text)-2] + "60"
	}
	if m.one(3) {
		text += "." + fmt.Sprint(1+m.IntN(999_999_999))
	}
	switch m.IntN(4) {
	case 0:
		return text
	case 1:
		return text + m.of([]string{"+", "-"}) + fmt.Sprintf("%02d:%02d", m.IntN(24), m.IntN(60))
	default:
		return text + m.of([]string{"Z", "z"})
	}
}

// text is a value of a parameter, not yet encoded.
func (m maker) text(schema *openapi3.Schema, parameter *openapi3.Parameter) string {
	if !schema.Type.Is(openapi3.TypeArray) {
		return m.item(schema, parameter)
	}
	var items []string
	for range 1 + m.IntN(min(maxItems(schema), 4)) {
		if item := m.item(schema.Items.Value, parameter); !slices.Contains(items, item) {
			items = append(items, item)
		}
	}
	return strings.Join(items, ",")
}

// item is a plain value, or one of a list.
func (m maker) item(schema *openapi3.Schema, parameter *openapi3.Parameter) string {
	form := formOf(parameter.Name, schema)
	switch {
	case len(schema.Enum) > 0:
		return fmt.Sprint(choose(m, schema.Enum))
	case schema.Type.Is(openapi3.TypeInteger):
		return strconv.FormatInt(m.integer(schema), 10)
	case schema.Type.Is(openapi3.TypeNumber):
		return m.number(*schema.Min, *schema.Max)
	case schema.Type.Is(openapi3.TypeBoolean):
		return m.of([]string{"true", "false"})
	case form != nil && (len(examplesOf(parameter)) == 0 || !m.one(3)):
		return form.right(m, schema)
	}
	if examples := examplesOf(parameter); len(examples) > 0 && (schema.Pattern != "" || m.one(3)) {
		return m.of(examples)
	}
	return m.words(int(schema.MinLength), maxLength(schema)) //nolint:gosec // small
}

// examplesOf lists the texts that the contract gives as examples of a parameter, or of an item of
// it.
func examplesOf(parameter *openapi3.Parameter) []string {
	values := []any{parameter.Example}
	for _, name := range slices.Sorted(maps.Keys(parameter.Examples)) {
		values = append(values, parameter.Examples[name].Value.Value)
	}
	var texts []string
	for _, value := range values {
		switch value := value.(type) {
		case string:
			texts = append(texts, value)
		case []any:
			for _, item := range value {
				texts = append(texts, fmt.Sprint(item))
			}
		}
	}
	return texts
}

func maxItems(schema *openapi3.Schema) int {
	if schema.MaxItems == nil {
		return 10
	}
	return int(*schema.MaxItems) //nolint:gosec // small
}

// integer is in the bounds of the schema, often on one of them.
func (m maker) integer(schema *openapi3.Schema) int64 {
	lowest, highest := bounds(schema)
	switch m.IntN(6) {
	case 0:
		return lowest
	case 1:
		return highest
	case 2:
		return min(lowest+1, highest)
	case 3:
		return max(highest-1, lowest)
	case 4:
		return min(lowest+m.Int64N(50), highest)
	default:
		return lowest + m.Int64N(highest-lowest+1)
	}
}

// bounds of an integer; every integer of the contract has a lowest value.
func bounds(schema *openapi3.Schema) (lowest, highest int64) {
	lowest, highest = int64(*schema.Min), math.MaxInt32
	if schema.Max != nil {
		highest = int64(*schema.Max)
	}
	return lowest, highest
}

func maxLength(schema *openapi3.Schema) int {
	if schema.MaxLength == nil {
		return 1000
	}
	return int(*schema.MaxLength) //nolint:gosec // small
}

var letters = []string{
	"a", "Z", "0", " ", "é", "ß", "Ω", "\u05d0", "\u0639", "\u3042", "中", "e\u0301", "\u200d", "\u202e", "\ufeff", "\u2028", "\ufffd", "😀", "👩\u200d👧",
	"\x00", "\t", "\n", "\x7f", "\"", "\\", "/", "'", "<", "&", "=", "+", "%", ";", "#", "{", "[", "$1", "--",
}

// words is a text of lowest to highest characters, counted so that everybody who counts agrees; at
// the limits of letters of one unit.
func (m maker) words(lowest, highest int) string {
	switch m.IntN(8) {
	case 0:
		return strings.Repeat(m.of([]string{"x", "é", "中"}), highest)
	case 1:
		return strings.Repeat(m.of([]string{"x", "é", "中"}), max(lowest, 1))
	}
	var b strings.Builder
	for range max(lowest, 1) + m.IntN(min(highest, 60)) {
		b.WriteString(m.of(letters))
	}
	text := b.String()
	for units(text) > highest {
		_, size := utf8.DecodeLastRuneInString(text)
		text = text[:len(text)-size]
	}
	return text
}

// units counts UTF-16 code units, the largest of the usual ways to count characters.
func units(text string) (n int) {
	for _, r := range text {
		if n++; r > 0xffff {
			n++
		}
	}
	return n
}

// members make an object that fits the schema: the keys that it must have and any of the others, as
// many as it may have.
func (m maker) members(schema *openapi3.Schema) []member {
	keys := slices.DeleteFunc(keysOf(schema), func(key string) bool { return !canMakeKey(key, schema.Properties[key].Value) })
	m.Shuffle(len(keys), func(i, j int) { keys[i], keys[j] = keys[j], keys[i] })
	slices.SortStableFunc(keys, func(a, b string) int { // those that it must have are chosen first
		return requiredFirst(slices.Contains(schema.Required, a), slices.Contains(schema.Required, b))
	})
	most := len(keys) // no answer's own key is required
	if schema.MaxProps != nil {
		most = min(most, int(*schema.MaxProps)) //nolint:gosec // small
	}
	least := max(int(schema.MinProps), len(schema.Required)) //nolint:gosec // small
	chosen := make([]member, 0, most)
	for _, key := range keys[:least+m.IntN(most-least+1)] {
		chosen = append(chosen, member{key, m.value(key, schema.Properties[key].Value)})
	}
	m.Shuffle(len(chosen), func(i, j int) { chosen[i], chosen[j] = chosen[j], chosen[i] })
	return chosen
}

func requiredFirst(a, b bool) int {
	switch {
	case a == b:
		return 0
	case a:
		return -1
	}
	return 1
}

func keysOf(schema *openapi3.Schema) []string {
	keys := make([]string, 0, len(schema.Properties))
	for key := range schema.Properties {
		keys = append(keys, key)
	}
	slices.Sort(keys)
	return keys
}

// value is a JSON text that fits the schema of a key.
func (m maker) value(key string, schema *openapi3.Schema) string {
	if schema.Nullable && m.one(5) {
		return "null"
	}
	switch {
	case len(schema.Enum) > 0:
		text, _ := json.Marshal(choose(m, schema.Enum)) // what was read from the contract can be written
		return string(text)
	case schema.Type.Is(openapi3.TypeInteger):
		return strconv.FormatInt(m.integer(schema), 10)
	case schema.Type.Is(openapi3.TypeNumber):
		return m.number(*schema.Min, *schema.Max)
	case schema.Type.Is(openapi3.TypeBoolean):
		return m.of([]string{"true", "false"})
	case schema.Type.Is(openapi3.TypeArray):
		n := int(schema.MinItems) + m.IntN(5) //nolint:gosec // small
		if m.one(8) && schema.MaxItems != nil {
			n = int(*schema.MaxItems) //nolint:gosec // small
		}
		items := make([]string, n)
		for i := range items {
			items[i] = m.value(key, schema.Items.Value)
		}
		return "[" + strings.Join(items, ",") + "]"
	case schema.Type.Is(openapi3.TypeObject):
		members := m.members(schema)
		return strings.TrimSpace(m.object(members))
	case formOf(key, schema) != nil:
		return m.quoted(formOf(key, schema).right(m, schema))
	default:
		return m.quoted(m.words(int(schema.MinLength), maxLength(schema))) //nolint:gosec // small
	}
}

// number is in its bounds, in one of the many ways to write it.
func (m maker) number(lowest, highest float64) string {
	n := lowest + m.Float64()*(highest-lowest)
	switch m.IntN(5) {
	case 0:
		n = lowest
	case 1:
		n = highest
	}
	switch m.IntN(3) {
	case 0:
		return strconv.FormatFloat(n, 'f', -1, 64)
	case 1:
		return strconv.FormatFloat(n, 'E', -1, 64)
	default:
		return strconv.FormatFloat(n, 'g', -1, 64)
	}
}

// quoted writes a JSON string, some of its characters as escapes.
func (m maker) quoted(text string) string {
	var b strings.Builder
	b.WriteByte('"')
	for _, r := range text {
		switch {
		case r > 0xffff:
			b.WriteRune(r)
		case r < 0x20, r == '"', r == '\\', m.one(16):
			fmt.Fprintf(&b, `\u%04x`, r)
		default:
			b.WriteRune(r)
		}
	}
	b.WriteByte('"')
	return b.String()
}

// object writes a JSON object, with white space here and there.
func (m maker) object(members []member) string {
	gap := func() string { return m.of([]string{"", "", "", " ", "\n", "\t\r\n  "}) }
	var b strings.Builder
	b.WriteString(gap() + "{" + gap())
	for i, each := range members {
		if i > 0 {
			b.WriteString("," + gap())
		}
		b.WriteString(m.quoted(each.key) + gap() + ":" + gap() + each.value + gap())
	}
	b.WriteString("}" + gap())
	return b.String()
}

// encode writes a query, each character as itself or percent-encoded.
func (m maker) encode(pairs []pair) string {
	parts := make([]string, len(pairs))
	for i, each := range pairs {
		parts[i] = m.escape(each.name) + "=" + m.escape(each.value)
	}
	return strings.Join(parts, "&")
}

func (m maker) escape(text string) string {
	switch m.IntN(4) {
	case 0:
		return strings.ReplaceAll(url.QueryEscape(text), "+", "%20")
	case 1:
		if len(text) > 1000 {
			return url.QueryEscape(text)
		}
		var b strings.Builder
		for i := range len(text) {
			fmt.Fprintf(&b, "%%%02x", text[i])
		}
		return b.String()
	default:
		return url.QueryEscape(text)
	}
}
