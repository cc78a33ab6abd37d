package detect

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"image"
	"io"
	"math"
	"mime/multipart"
	"net/textproto"
	"path/filepath"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"hsi.home.arpa/pipeline/aicall"
)

// RTDETRName names the RT-DETR service in detections.
const RTDETRName = "rtdetr"

const (
	maxReplyBytes   = 4 << 20
	maxReplyObjects = 1000
	maxTypeLength   = 64 // of an object's type, in bytes
)

// RTDETR is the client of an RT-DETR service.
type RTDETR struct{ client *aicall.Client }

// RTDETROptions say how to reach the service. Zero times mean their defaults: 10 s to connect, 60 s
// to read.
type RTDETROptions struct {
	URL, APIKey                 string
	ConnectTimeout, ReadTimeout time.Duration
	// OpenFor is how long a service that fails is left alone. Defaults to 10 s.
	OpenFor time.Duration
}

// NewRTDETR makes a client. The error says what is wrong with the address.
func NewRTDETR(options RTDETROptions) (*RTDETR, error) {
	client, err := aicall.New(aicall.Options{
		URL: options.URL, APIKey: options.APIKey, ConnectTimeout: options.ConnectTimeout, ReadTimeout: options.ReadTimeout,
		MaxReplyBytes: maxReplyBytes, OpenFor: options.OpenFor,
	})
	if err != nil {
		return nil, fmt.Errorf("rtdetr: %w", err)
	}
	return &RTDETR{client: client}, nil
}

// Name returns RTDETRName.
func (*RTDETR) Name() string { return RTDETRName }

// Limit is the longest that one call takes.
func (r *RTDETR) Limit() time.Duration { return r.client.Limit() }

// BusySince returns when the oldest call in progress began, unless calls fail; see aicall.Client.
func (r *RTDETR) BusySince() (time.Time, bool) { return r.client.BusySince() }

// Trouble says that calls fail and when the service is tried again; empty when they succeed.
func (r *RTDETR) Trouble() string { return r.client.Trouble() }

// CloseIdle closes connections that are not in use.
func (r *RTDETR) CloseIdle() { r.client.CloseIdle() }

// Detect sends the image to the service. The error is of a type of this package, or
// context.Canceled.
func (r *RTDETR) Detect(ctx context.Context, img *Image) ([]Detection, error) {
	body, contentType, err := multipartImage(img)
	if err != nil {
		return nil, err
	}
	var detections []Detection
	err = r.client.Call(ctx, "/detect", contentType, body, func(reply []byte) (err error) {
		detections, err = parseReply(reply, img.Bounds())
		return err
	})
	if err != nil {
		return nil, toDetectError(err)
	}
	return detections, nil
}

// toDetectError turns a failed call into an error of this package.
func toDetectError(err error) error {
	failure, ok := errors.AsType[*aicall.Failure](err)
	if !ok {
		return err
	}
	switch failure.Kind {
	case aicall.Away:
		return &Unavailable{Err: failure.Err, retryAt: failure.RetryAt}
	case aicall.Refused:
		return &Unusable{Err: fmt.Errorf("refused by rtdetr: %w", failure.Err)}
	case aicall.Suspect:
		return &BadReply{Err: failure.Err}
	}
	return err
}

// multipartImage packs an image into the form that the service expects.
func multipartImage(img *Image) (body []byte, contentType string, err error) {
	var buffer bytes.Buffer
	buffer.Grow(len(img.Data) + 512)
	form := multipart.NewWriter(&buffer)
	header := textproto.MIMEHeader{}
	header.Set("Content-Disposition", fmt.Sprintf(`form-data; name="file"; filename=%q`, uploadName(img)))
	header.Set("Content-Type", img.Info.Format.MediaType())
	part, err := form.CreatePart(header)
	if err == nil {
		_, err = part.Write(img.Data)
	}
	if err == nil {
		err = form.Close()
	}
	if err != nil {
		return nil, "", fmt.Errorf("pack image: %w", err)
	}
	return buffer.Bytes(), form.FormDataContentType(), nil
}

// uploadName is the name under which an image is sent: its own where that is plain and has an
// extension that the service knows.
func uploadName(img *Image) string {
	plain := !strings.ContainsFunc(img.Name, func(r rune) bool {
		return r != '.' && r != '-' && r != '_' && (r < '0' || r > '9') && (r < 'A' || r > 'Z') && (r < 'a' || r > 'z')
	})
	switch strings.ToLower(filepath.Ext(img.Name)) {
	case ".jpg", ".jpeg", ".png", ".gif", ".bmp", ".webp":
		if plain {
			return img.Name
		}
	}
	return "image." + string(img.Info.Format)
}

// reply is what the service answers; keys that we do not use are allowed.
type reply struct {
	Detections *[]replyObject `json:"detections"`
}

type replyObject struct {
	Class      *string  `json:"class"`
	Confidence *float64 `json:"confidence"`
	Box        replyBox `json:"bbox"`
}

// replyBox is {"x","y","width","height"} or [x, y, width, height].
type replyBox struct {
	x, y, width, height float64
	set                 bool
}

// UnmarshalJSON reads either form.
func (b *replyBox) UnmarshalJSON(data []byte) error {
	var list []float64
	if err := json.Unmarshal(data, &list); err == nil {
		if len(list) != 4 {
			return errors.New("a box needs four numbers")
		}
		*b = replyBox{x: list[0], y: list[1], width: list[2], height: list[3], set: true}
		return nil
	}
	var named struct {
		X, Y, Width, Height *float64
	}
	if err := json.Unmarshal(data, &named); err != nil {
		return fmt.Errorf("read box: %w", err)
	}
	if named.X == nil || named.Y == nil || named.Width == nil || named.Height == nil {
		return errors.New("a box needs x, y, width and height")
	}
	*b = replyBox{x: *named.X, y: *named.Y, width: *named.Width, height: *named.Height, set: true}
	return nil
}

// parseReply checks a reply against what the service promises. One object that cannot be makes the
// whole reply bad: nothing says that the others are right.
func parseReply(data []byte, bounds image.Rectangle) ([]Detection, error) {
	var r reply
	decoder := json.NewDecoder(bytes.NewReader(data))
	if err := decoder.Decode(&r); err != nil {
		return nil, fmt.Errorf("read reply: %w", err)
	}
	if _, err := decoder.Token(); !errors.Is(err, io.EOF) {
		return nil, errors.New("bytes after the reply")
	}
	if r.Detections == nil {
		return nil, errors.New("the reply has no detections")
	}
	if len(*r.Detections) > maxReplyObjects {
		return nil, fmt.Errorf("%d detections in one image", len(*r.Detections))
	}
	detections := make([]Detection, 0, len(*r.Detections))
	for i, object := range *r.Detections {
		d, err := object.check(bounds)
		if err != nil {
			return nil, fmt.Errorf("detection %d: %w", i, err)
		}
		detections = append(detections, d)
	}
	return detections, nil
}

// check turns an object into a detection. A box may stick out of the image a little, as those of
// models do, and is clipped.
func (o replyObject) check(bounds image.Rectangle) (Detection, error) {
	switch {
	case o.Class == nil || strings.TrimSpace(*o.Class) == "":
		return Detection{}, errors.New("no class")
	case len(*o.Class) > maxTypeLength || !utf8.ValidString(*o.Class) || strings.ContainsFunc(*o.Class, unicode.IsControl):
		return Detection{}, errors.New("odd class")
	case o.Confidence == nil || *o.Confidence < 0 || *o.Confidence > 1:
		return Detection{}, errors.New("confidence is not between 0 and 1")
	case !o.Box.set:
		return Detection{}, errors.New("no box")
	case o.Box.width <= 0 || o.Box.height <= 0:
		return Detection{}, errors.New("empty box")
	}
	box := image.Rect(pixel(o.Box.x), pixel(o.Box.y), pixel(o.Box.x+o.Box.width), pixel(o.Box.y+o.Box.height))
	// Less than a pixel is still an object.
	box.Max.X, box.Max.Y = max(box.Max.X, box.Min.X+1), max(box.Max.Y, box.Min.Y+1)
	if box = box.Intersect(bounds); box.Empty() {
		return Detection{}, errors.New("box outside of the image")
	}
	return Detection{ObjectType: strings.ToLower(strings.TrimSpace(*o.Class)), Confidence: *o.Confidence, Box: box}, nil
}

// pixel rounds a coordinate and keeps it in a range in which nothing overflows.
func pixel(value float64) int {
	const farthest = 1 << 30
	return int(math.Round(min(farthest, max(-farthest, value))))
}
