package serve

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"math/big"
	"net"
	"time"
)

// Listen listens on addr; with secure, it speaks TLS with a certificate of a
// new authority, whose PEM certificate it returns.
func Listen(addr string, secure bool) (l net.Listener, ca string, err error) {
	if l, err = net.Listen("tcp", addr); err != nil || !secure {
		return l, "", err
	}
	cert, ca, err := selfMade(l.Addr())
	if err != nil {
		_ = l.Close()
		return nil, "", fmt.Errorf("make a certificate: %w", err)
	}
	return tls.NewListener(l, &tls.Config{
		Certificates: []tls.Certificate{cert}, MinVersion: tls.VersionTLS12, NextProtos: []string{"h2", "http/1.1"},
		// A server may look at the certificate of a client that has one.
		ClientAuth: tls.RequestClientCert,
	}), ca, nil
}

// selfMade returns a certificate for the address of addr and for localhost.
func selfMade(addr net.Addr) (cert tls.Certificate, ca string, err error) {
	template := func(serial int64, name string) *x509.Certificate {
		return &x509.Certificate{SerialNumber: big.NewInt(serial), Subject: pkix.Name{CommonName: name},
			NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(7 * 24 * time.Hour), KeyUsage: x509.KeyUsageDigitalSignature}
	}
	root := template(1, "test server authority")
	root.IsCA, root.BasicConstraintsValid, root.KeyUsage = true, true, x509.KeyUsageCertSign
	rootKey, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return cert, "", err
	}
	rootDER, err := x509.CreateCertificate(rand.Reader, root, root, rootKey.Public(), rootKey)
	if err != nil {
		return cert, "", err
	}

	leaf := template(2, "test server")
	leaf.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}
	leaf.DNSNames = []string{"localhost"}
	leaf.IPAddresses = []net.IP{addr.(*net.TCPAddr).IP}
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return cert, "", err
	}
	der, err := x509.CreateCertificate(rand.Reader, leaf, root, key.Public(), rootKey)
	if err != nil {
		return cert, "", err
	}
	pemCA := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: rootDER})
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}, string(pemCA), nil
}
