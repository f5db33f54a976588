package signature

import (
	"bytes"
	"encoding/base64"
	"errors"
	"strings"
)

// maxArmor bounds one armored signature; the longest post-quantum ones stay
// below it.
const maxArmor = 128 << 10

var (
	armorBegin = []byte("-----BEGIN ")
	armorEnd   = []byte("-----END ")
	armorDash  = []byte("-----")
)

// dearmor reads exactly one armored block: a BEGIN line, for OpenPGP header
// lines and a blank line, base64, for OpenPGP a checksum if there is one, the
// END line, and nothing else but blank lines behind it.
func dearmor(text []byte) (label string, body []byte, err error) {
	if len(text) > maxArmor {
		return "", nil, errors.New("the armor is too long")
	}
	lines := trimmedLines(text)
	if len(lines) < 2 {
		return "", nil, errors.New("no armor")
	}
	label, ok := armorLabel(lines[0], armorBegin)
	if !ok {
		return "", nil, errors.New("no BEGIN line")
	}
	if end, ok := armorLabel(lines[len(lines)-1], armorEnd); !ok || end != label {
		return "", nil, errors.New("no END line to the BEGIN line")
	}
	lines = lines[1 : len(lines)-1]
	pgp := strings.HasPrefix(label, "PGP ")
	if pgp {
		if lines, err = skipArmorHeaders(lines); err != nil {
			return "", nil, err
		}
	}
	body, err = armorBody(lines, pgp)
	return label, body, err
}

func trimmedLines(text []byte) [][]byte {
	lines := bytes.Split(bytes.TrimRight(text, " \t\r\n"), []byte("\n"))
	for i := range lines {
		lines[i] = bytes.TrimRight(lines[i], " \t\r")
	}
	return lines
}

func armorLabel(line, mark []byte) (string, bool) {
	label, ok := bytes.CutPrefix(line, mark)
	if !ok {
		return "", false
	}
	label, ok = bytes.CutSuffix(label, armorDash)
	return string(label), ok && len(label) > 0
}

// skipArmorHeaders passes "Version: …" and the like. They are outside the
// signed bytes and mean nothing.
func skipArmorHeaders(lines [][]byte) ([][]byte, error) {
	for i, line := range lines {
		if len(line) == 0 {
			return lines[i+1:], nil
		}
		if !bytes.Contains(line, []byte(": ")) && !bytes.HasSuffix(line, []byte(":")) {
			break
		}
	}
	return nil, errors.New("no blank line before the armored data")
}

func armorBody(lines [][]byte, pgp bool) ([]byte, error) {
	var sum []byte
	if n := len(lines) - 1; pgp && n >= 0 && len(lines[n]) == 5 && lines[n][0] == '=' {
		lines, sum = lines[:n], lines[n][1:]
	}
	body, err := base64.StdEncoding.Strict().DecodeString(string(bytes.Join(lines, nil)))
	if err != nil || len(body) == 0 {
		return nil, errors.New("the armored data is not base64")
	}
	if sum == nil {
		return body, nil
	}
	want, err := base64.StdEncoding.Strict().DecodeString(string(sum))
	if err != nil || !bytes.Equal(want, crc24(body)) {
		return nil, errors.New("the armor's checksum is wrong")
	}
	return body, nil
}

// crc24 is the checksum of RFC 4880, section 6.1.
func crc24(data []byte) []byte {
	crc := uint32(0xb704ce)
	for _, b := range data {
		crc ^= uint32(b) << 16
		for range 8 {
			if crc <<= 1; crc&0x1000000 != 0 {
				crc ^= 0x1864cfb
			}
		}
	}
	return []byte{byte(crc >> 16), byte(crc >> 8), byte(crc)}
}
