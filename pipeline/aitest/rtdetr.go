package aitest

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"image"
	"io"
	"net/http"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

// maxImageBytes is the largest file that RT-DETR takes.
const maxImageBytes = 10 << 20

// DetectCall is what RT-DETR remembers of one POST /detect.
type DetectCall struct {
	Call

	// FileName, ContentType and Size (bytes) are those of the multipart field "file".
	FileName, ContentType string
	Size                  int
	// SHA256 is that of the file, in lower-case hex.
	SHA256 string
	// Found is the honest answer, whatever was answered.
	Found []Detection
}

// RTDETR is a scripted RT-DETR server.
type RTDETR struct{ *service[DetectCall] }

// NewRTDETR starts a server that is honest until it is told otherwise. It ends with the test.
func NewRTDETR(tb testing.TB) *RTDETR {
	tb.Helper()
	d := &RTDETR{newService[DetectCall](tb)}
	mux := http.NewServeMux()
	mux.HandleFunc("/health", d.serveHealth)
	mux.HandleFunc("/detect", d.serveDetect)
	mux.HandleFunc("/", func(w http.ResponseWriter, _ *http.Request) { detail(http.StatusNotFound, "Not Found").Send(w) })
	d.handler = mux
	d.Start()
	return d
}

// detail is an error answer of RT-DETR.
func detail(status int, message string) Reply {
	return jsonReply(status, map[string]string{"detail": message})
}

func (d *RTDETR) serveHealth(w http.ResponseWriter, r *http.Request) {
	if r.Method != http.MethodGet {
		detail(http.StatusMethodNotAllowed, "Method Not Allowed").Send(w)
		return
	}
	state := func(status string, loaded bool, model any) Reply {
		return jsonReply(http.StatusOK, map[string]any{
			"status": status, "model_loaded": loaded, "device": "cpu", "cuda_available": false, "model_name": model, "vram_used_gb": nil,
		})
	}
	x := &Exchange{Request: r, Honest: state("healthy", true, "scripted"), Loading: state("degraded", false, nil), Fail: detail}
	answer(w, x, d.beginHealth(), func(int) {})
}

func (d *RTDETR) serveDetect(w http.ResponseWriter, r *http.Request) {
	call := DetectCall{Call: Call{StartedAt: time.Now(), APIKey: r.Header.Get("X-API-Key")}}
	honest := d.detect(&call, r)
	number, behaviour := d.begin(call)
	d.update(number, func(c *DetectCall) { c.Behaviour = behaviour.Name })
	x := &Exchange{
		Request: r, Subject: call.FileName, Honest: honest, Loading: detail(http.StatusServiceUnavailable, "Model not loaded"), Fail: detail,
	}
	answer(w, x, behaviour, func(status int) {
		d.update(number, func(c *DetectCall) { c.Status, c.EndedAt = status, time.Now() })
	})
}

// detect checks an upload as RT-DETR does and makes the honest answer.
func (d *RTDETR) detect(call *DetectCall, r *http.Request) Reply {
	if r.Method != http.MethodPost {
		return detail(http.StatusMethodNotAllowed, "Method Not Allowed")
	}
	file, header, err := r.FormFile("file")
	if err != nil {
		return detail(http.StatusBadRequest, "Either 'file' or 'image_base64' must be provided")
	}
	defer func() { _ = file.Close() }()
	data, err := io.ReadAll(file)
	if err != nil {
		return detail(http.StatusBadRequest, "Upload failed")
	}
	sum := sha256.Sum256(data)
	call.FileName, call.ContentType, call.Size, call.SHA256 = header.Filename, header.Header.Get("Content-Type"), len(data), hex.EncodeToString(sum[:])
	if status, problem := checkUpload(call, data); problem != "" {
		return detail(status, problem)
	}
	config, _, err := image.DecodeConfig(bytes.NewReader(data))
	if err != nil {
		return detail(http.StatusBadRequest, "Invalid or corrupted image")
	}
	call.Found = Detections(data)
	return jsonReply(http.StatusOK, map[string]any{
		"detections": call.Found, "inference_time_ms": 12.5, "image_width": config.Width, "image_height": config.Height,
	})
}

func checkUpload(call *DetectCall, data []byte) (status int, problem string) {
	extensions := []string{".jpg", ".jpeg", ".png", ".gif", ".bmp", ".webp"}
	switch extension := strings.ToLower(filepath.Ext(call.FileName)); {
	case len(data) > maxImageBytes:
		return http.StatusRequestEntityTooLarge, "File too large"
	case !slices.Contains(extensions, extension):
		return http.StatusBadRequest, fmt.Sprintf("Unsupported file extension %q", extension)
	case !strings.HasPrefix(call.ContentType, "image/"):
		return http.StatusBadRequest, fmt.Sprintf("Unsupported content type %q", call.ContentType)
	case !strings.HasPrefix(http.DetectContentType(data), "image/"): // it looks at the first bytes only
		return http.StatusBadRequest, "File content is not an image"
	default:
		return 0, ""
	}
}

// editDetections answers with the honest object after a change of its members.
func editDetections(name string, edit func(members map[string]any)) Behaviour {
	return Behaviour{Name: name, Answer: func(w http.ResponseWriter, x *Exchange) {
		var members map[string]any
		if err := json.Unmarshal(x.Honest.Body, &members); err != nil {
			panic(fmt.Sprintf("read our own reply: %v", err))
		}
		edit(members)
		jsonReply(http.StatusOK, members).Send(w)
	}}
}

// RawDetections answers with a text of its own in place of the list of detections; it need not be
// JSON.
func RawDetections(name, list string) Behaviour {
	return Behaviour{Name: name, Answer: func(w http.ResponseWriter, _ *Exchange) {
		Reply{Status: http.StatusOK, Body: fmt.Appendf(nil, `{"detections":%s,"inference_time_ms":12.5,"image_width":%d,"image_height":%d}`,
			list, PictureWidth, PictureHeight)}.Send(w)
	}}
}

// NaNConfidence answers with NaN, which is not JSON but what Python writes.
func NaNConfidence() Behaviour {
	return RawDetections("NaN confidence", `[{"class":"person","confidence":NaN,"bbox":{"x":10,"y":10,"width":20,"height":40}}]`)
}

// Confidence answers with one person of that confidence, which may be out of range.
func Confidence(value float64) Behaviour {
	return RawDetections(fmt.Sprintf("confidence %g", value),
		fmt.Sprintf(`[{"class":"person","confidence":%g,"bbox":{"x":10,"y":10,"width":20,"height":40}}]`, value))
}

// BoxAt answers with one person in that box, which may be outside the image, empty or negative.
func BoxAt(b Box) Behaviour {
	return RawDetections(fmt.Sprintf("box %d,%d %dx%d", b.X, b.Y, b.Width, b.Height), string(jsonReply(0, []Detection{{"person", 0.9, b}}).Body))
}

// BoxAsList gives the honest answer with each box as a list [x, y, width, height], which older
// servers send.
func BoxAsList() Behaviour {
	return editDetections("box as list", func(members map[string]any) {
		list, _ := members["detections"].([]any)
		for _, entry := range list {
			object, _ := entry.(map[string]any)
			box, _ := object["bbox"].(map[string]any)
			object["bbox"] = []any{box["x"], box["y"], box["width"], box["height"]}
		}
	})
}

// WithoutDetections answers with an object that has no list of detections.
func WithoutDetections() Behaviour {
	return editDetections("without detections", func(members map[string]any) { delete(members, "detections") })
}
