package logsink

import (
	"context"
	"encoding"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"math"
	"slices"
	"strings"
	"time"

	"hsi.home.arpa/store"
)

// The attributes that have a column of their own.
const (
	keyComponent = "component"
	keyCameraID  = "camera_id"
	keyRequestID = "request_id"
)

// maxValueBytes cuts single values, so that one long text does not cost the others their place.
const maxValueBytes = 8192

// fallbackComponent names records of loggers that were given none.
const fallbackComponent = "hsi"

func isTransient(err error) bool {
	return errors.Is(err, store.ErrUnavailable) || errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded)
}

// handler passes records on and queues the severe ones. Handlers made by WithAttrs and WithGroup
// share the sink.
type handler struct {
	sink   *Sink
	next   slog.Handler
	groups []string
	attrs  []scopedAttr
}

// scopedAttr is an attribute with the groups that were open when it was given.
type scopedAttr struct {
	groups []string
	attr   slog.Attr
}

var _ slog.Handler = (*handler)(nil)

// Enabled is part of slog.Handler.
func (h *handler) Enabled(ctx context.Context, level slog.Level) bool {
	return h.stored(level) || h.next.Enabled(ctx, level)
}

func (h *handler) stored(level slog.Level) bool { return level >= h.sink.options.MinLevel.Level() }

// Handle is part of slog.Handler.
func (h *handler) Handle(ctx context.Context, record slog.Record) error {
	if h.stored(record.Level) {
		h.enqueue(record)
	}
	if !h.next.Enabled(ctx, record.Level) {
		return nil
	}
	return h.next.Handle(ctx, record)
}

// WithAttrs is part of slog.Handler.
func (h *handler) WithAttrs(attrs []slog.Attr) slog.Handler {
	if len(attrs) == 0 {
		return h
	}
	child := *h
	child.next = h.next.WithAttrs(attrs)
	child.attrs = append([]scopedAttr(nil), h.attrs...)
	for _, attr := range attrs {
		child.attrs = append(child.attrs, scopedAttr{groups: h.groups, attr: attr})
	}
	return &child
}

// WithGroup is part of slog.Handler.
func (h *handler) WithGroup(name string) slog.Handler {
	if name == "" {
		return h
	}
	child := *h
	child.next = h.next.WithGroup(name)
	child.groups = append(append([]string(nil), h.groups...), name)
	return &child
}

// enqueue never waits: a full queue drops the entry.
func (h *handler) enqueue(record slog.Record) {
	entry := h.entry(record)
	select {
	case h.sink.queue <- entry:
	default:
		h.sink.dropped.Add(1)
	}
}

// entry turns a record into a row, now: the values may change after Handle returns.
func (h *handler) entry(record slog.Record) store.LogEntry {
	entry := store.LogEntry{
		Timestamp: record.Time, Level: levelName(record.Level), Component: fallbackComponent, Message: record.Message,
	}
	if record.Time.IsZero() {
		entry.Timestamp = time.Now()
	}
	extra := make(map[string]any)
	for _, a := range h.attrs {
		place(&entry, extra, a.groups, a.attr)
	}
	record.Attrs(func(attr slog.Attr) bool {
		place(&entry, extra, h.groups, attr)
		return true
	})
	if len(extra) > 0 {
		encoded, err := json.Marshal(extra)
		if err != nil {
			encoded = []byte(`{"dropped":"not encodable"}`)
		}
		entry.Extra = encoded
	}
	return entry
}

// place puts an attribute into its column or into extra, under the names of its groups joined by
// dots.
func place(entry *store.LogEntry, extra map[string]any, groups []string, attr slog.Attr) {
	value := attr.Value.Resolve()
	if value.Kind() == slog.KindGroup {
		if attr.Key != "" {
			groups = append(append([]string(nil), groups...), attr.Key)
		}
		for _, member := range value.Group() {
			place(entry, extra, groups, member)
		}
		return
	}
	if attr.Key == "" {
		return
	}
	if len(groups) == 0 {
		switch attr.Key {
		case keyComponent:
			entry.Component = value.String()
			return
		case keyCameraID:
			entry.CameraID = value.String()
			return
		case keyRequestID:
			entry.RequestID = value.String()
			return
		}
	}
	key := attr.Key
	for _, group := range slices.Backward(groups) {
		key = group + "." + key
	}
	encoded := encodable(value)
	if text, ok := encoded.(string); ok && len(text) > maxValueBytes {
		encoded = strings.ToValidUTF8(text[:maxValueBytes], "") + "…"
	}
	extra[key] = encoded
}

// encodable turns a value into one that JSON can hold.
func encodable(value slog.Value) any {
	switch value.Kind() {
	case slog.KindBool, slog.KindInt64, slog.KindUint64:
		return value.Any()
	case slog.KindFloat64:
		if f := value.Float64(); !math.IsNaN(f) && !math.IsInf(f, 0) {
			return f
		}
		return value.String()
	case slog.KindTime:
		return value.Time().UTC().Format(time.RFC3339Nano)
	case slog.KindDuration:
		return value.Duration().String()
	case slog.KindAny:
		return encodableAny(value.Any())
	case slog.KindString, slog.KindGroup, slog.KindLogValuer:
	}
	return value.String()
}

func encodableAny(v any) (encoded any) {
	// A logger must survive whatever a String or MarshalJSON method does.
	defer func() {
		if r := recover(); r != nil {
			encoded = fmt.Sprintf("panic while encoding: %v", r)
		}
	}()
	switch v := v.(type) {
	case nil:
		return nil
	case error:
		return v.Error()
	case encoding.TextMarshaler:
		if text, err := v.MarshalText(); err == nil {
			return string(text)
		}
	case fmt.Stringer:
		return v.String()
	}
	raw, err := json.Marshal(v)
	if err != nil {
		return fmt.Sprintf("%+v", v)
	}
	return json.RawMessage(raw)
}

// levelName is the name that LOG_LEVEL and readers of the logs table use.
func levelName(level slog.Level) string {
	switch {
	case level >= slog.LevelError:
		return "ERROR"
	case level >= slog.LevelWarn:
		return "WARNING"
	case level >= slog.LevelInfo:
		return "INFO"
	default:
		return "DEBUG"
	}
}
