package generate

import (
	"fmt"
	"strings"
	"time"

	"github.com/getkin/kin-openapi/openapi3"
)

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
