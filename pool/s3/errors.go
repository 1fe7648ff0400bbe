// SPDX-License-Identifier: GPL-3.0-or-later

package s3

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strings"

	awshttp "github.com/aws/aws-sdk-go-v2/aws/transport/http"
	"github.com/aws/smithy-go"
	"golang.org/x/sys/unix"

	"winery/pool"
)

// What an error of the store means.
type meaning struct {
	is      error  // an Err variable of package pool, or nil
	what    string // of an AccessError: what is wrong
	cure    string
	passing bool // the same request may succeed later
}

const (
	credentials403 = "check AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or boto3_config, and that the key is active"
	clockCure      = "set the clock of this host (timedatectl, chronyc tracking); the store accepts a difference of 15 minutes"
	regionCure     = "set region_name in boto3_config, or AWS_REGION, to the region of the bucket"
	quotaCure      = "raise the quota of the bucket or of its owner, or make room"
	rightsCure     = "give the user of this key s3:ListBucket, s3:GetObject and, for packers and cleaners, s3:PutObject, s3:DeleteObject, " +
		"s3:ListBucketMultipartUploads and s3:AbortMultipartUpload, in a bucket that keeps versions also s3:ListBucketVersions and s3:DeleteObjectVersion"
)

// meanings are the error codes of S3 and of stores like it.
var meanings = map[string]meaning{
	"NoSuchKey":                  {is: pool.ErrNotFound},
	"NoSuchBucket":               {is: pool.ErrNoPool, cure: "create the bucket, or correct base_url"},
	"NoSuchUpload":               {is: pool.ErrFenced},
	"PreconditionFailed":         {is: pool.ErrExists},
	"ConditionalRequestConflict": {is: pool.ErrExists},

	"AccessDenied":                       {what: "the store denies access", cure: rightsCure},
	"AllAccessDisabled":                  {what: "the store denies access", cure: rightsCure},
	"AccountProblem":                     {what: "the store denies access", cure: "ask the operator of the store about the account"},
	"XAdminUserNotFound":                 {what: "the store does not know the access key", cure: credentials403}, // versitygw, with status 404
	"InvalidAccessKeyId":                 {what: "the store does not know the access key", cure: credentials403},
	"SignatureDoesNotMatch":              {what: "the secret key is wrong", cure: credentials403},
	"InvalidToken":                       {what: "the session token is wrong", cure: "check AWS_SESSION_TOKEN"},
	"ExpiredToken":                       {what: "the session token has expired", cure: "renew AWS_SESSION_TOKEN and the key that belongs to it"},
	"AuthorizationHeaderMalformed":       {what: "the request was signed for another region", cure: regionCure},
	"PermanentRedirect":                  {what: "the bucket is in another region", cure: regionCure},
	"IllegalLocationConstraintException": {what: "the bucket is in another region", cure: regionCure},
	"RequestExpired":                     {what: "the clocks of this host and of the store differ", cure: clockCure},
	"InvalidObjectState":                 {what: "the image is archived", cure: "restore the object in the store, and end the lifecycle rule that archives images"},
	// The SDK learns the difference from the answer, and signs the next request with it.
	"RequestTimeTooSkewed": {what: "the clocks of this host and of the store differ", cure: clockCure, passing: true},

	"QuotaExceeded":                  {is: pool.ErrFull, cure: quotaCure},
	"XMinioAdminBucketQuotaExceeded": {is: pool.ErrFull, cure: quotaCure},
	"XMinioStorageFull":              {is: pool.ErrFull, cure: quotaCure},
	"InsufficientStorage":            {is: pool.ErrFull, cure: quotaCure},
	"ServiceQuotaExceededException":  {is: pool.ErrFull, cure: quotaCure},
	"EntityTooLarge":                 {is: pool.ErrFull, cure: "the store has a limit to the size of an object: lower shard_max_size"},

	"InvalidPart": {cure: "the store has lost a part of the upload; check its log. The next attempt uploads all parts again"},

	// Errors that pass; others of status 500 and above need no line here.
	"SlowDown":                  {is: pool.ErrUnavailable, passing: true},
	"InternalError":             {is: pool.ErrUnavailable, passing: true},
	"RequestTimeout":            {is: pool.ErrUnavailable, passing: true},
	"OperationAborted":          {is: pool.ErrUnavailable, passing: true},
	"BadDigest":                 {is: pool.ErrUnavailable, passing: true}, // damaged on its way
	"IncompleteBody":            {is: pool.ErrUnavailable, passing: true},
	"XAmzContentSHA256Mismatch": {is: pool.ErrUnavailable, passing: true},
	// versitygw, while another request removes the last object, and the folder with it.
	"ExistingObjectIsDirectory": {is: pool.ErrUnavailable, passing: true},
}

var (
	// errAnswer is returned for an answer that cannot be one to the request.
	errAnswer = errors.New("the store answered with something else than was asked for")
	// errBody is returned for an answer that ended early or stalled.
	errBody = errors.New("the store's answer was cut short")
)

// ofStore says whether err is about a request, not about this host's disk or a proof.
func ofStore(err error) bool {
	return errors.As(err, new(*smithy.OperationError)) || errors.Is(err, errBody) || errors.Is(err, errAnswer)
}

// understand returns the meaning of an error.
func understand(err error) meaning {
	if !ofStore(err) {
		return meaning{}
	}
	var api smithy.APIError
	if errors.As(err, &api) {
		if m, ok := meanings[api.ErrorCode()]; ok {
			return m
		}
	}
	// A 404 without the code NoSuchKey says nothing of the image: it is a proxy's, or
	// about the user.
	switch status := statusOf(err); {
	case status == http.StatusNotImplemented:
		return meaning{}
	case status == http.StatusInsufficientStorage:
		return meanings["QuotaExceeded"]
	case status >= 500, status == http.StatusTooManyRequests:
		return meanings["InternalError"]
	case status == http.StatusForbidden, status == http.StatusUnauthorized:
		return meanings["AccessDenied"]
	case status == http.StatusPreconditionFailed:
		return meanings["PreconditionFailed"]
	case status == http.StatusMovedPermanently:
		return meanings["PermanentRedirect"]
	case status >= 400:
		return meaning{}
	}
	if strings.Contains(err.Error(), "get credentials:") {
		return meaning{what: "no credentials", cure: "set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or boto3_config; for a public bucket anonymous: true"}
	}
	if errors.As(err, new(*tls.CertificateVerificationError)) {
		return meaning{what: "the certificate of the store is not trusted", cure: "set verify in boto3_config, or AWS_CA_BUNDLE, to the file of the authority that signed it"}
	}
	// Without a whole answer: refused, reset, stalled, or cut short.
	return meanings["InternalError"]
}

// passing says whether a request may be repeated after an error.
func passing(err error) bool { return understand(err).passing }

// statusOf returns the HTTP status of an error, or 0 if there was no whole answer.
func statusOf(err error) int {
	var response *awshttp.ResponseError
	if errors.As(err, &response) {
		return response.HTTPStatusCode()
	}
	return 0
}

// is says whether an error of the store means target, a variable of package pool.
func is(err, target error) bool { return errors.Is(understand(err).is, target) }

// fail translates an error of a request, or of the local disk; nil stays nil.
func (p *Pool) fail(operation, name string, err error) error {
	what := strings.TrimSpace(operation + " " + name)
	switch {
	case err == nil:
		return nil
	case errors.As(err, new(pool.Refusal)), errors.Is(err, context.Canceled), errors.Is(err, context.DeadlineExceeded):
		return fmt.Errorf("pool %s: %s: %w", p.name, what, err)
	}
	return p.translate(what, err)
}

func (p *Pool) translate(what string, err error) error {
	m := understand(err)
	switch {
	case errors.Is(err, unix.ENOSPC), errors.Is(err, unix.EDQUOT):
		return fmt.Errorf("pool %s: %s: %w: %w; make room in tmp_directory", p.name, what, pool.ErrFull, err)
	case m.what != "":
		return &pool.AccessError{Pool: p.name, What: fmt.Sprintf("%s: %s (%s)", what, m.what, shortMessage(err)), Cure: m.cure}
	case m.is != nil && m.cure != "":
		return fmt.Errorf("pool %s: %s: %w: %s; %s", p.name, what, m.is, shortMessage(err), m.cure)
	case m.is != nil:
		return fmt.Errorf("pool %s: %s: %w: %s", p.name, what, m.is, shortMessage(err))
	case m.cure != "":
		return fmt.Errorf("pool %s: %s: %s; %s", p.name, what, shortMessage(err), m.cure)
	case ofStore(err):
		return fmt.Errorf("pool %s: %s: %s", p.name, what, shortMessage(err))
	}
	return fmt.Errorf("pool %s: %s: %w", p.name, what, err)
}

// shortMessage is the message of an error without the layers that the SDK puts into it.
func shortMessage(err error) string {
	var operation *smithy.OperationError
	if !errors.As(err, &operation) {
		return err.Error()
	}
	short := operation.Err.Error()
	var api smithy.APIError
	var sent *url.Error
	switch {
	case errors.As(err, &api):
		short = strings.TrimSpace(fmt.Sprintf("%s, status %d: %s", api.ErrorCode(), statusOf(err), api.ErrorMessage()))
	case errors.As(err, &sent):
		short = sent.Error()
	}
	return strings.Replace(err.Error(), operation.Error(), short, 1)
}
