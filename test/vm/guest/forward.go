// SPDX-License-Identifier: GPL-3.0-or-later

package main

import (
	"io"
	"net"
)

// host is where QEMU's user network shows the host's loopback interface.
const host = "10.0.2.2"

// forward forwards 127.0.0.1:port of the machine to the host's: Ceph's maps name
// its daemons by such addresses, so they must be valid in the machine too.
func forward(port string) error {
	listener, err := net.Listen("tcp", net.JoinHostPort("127.0.0.1", port))
	if err != nil {
		return err
	}
	go func() {
		for {
			client, err := listener.Accept()
			if err != nil {
				return // only ever closed with the process
			}
			go join(client.(*net.TCPConn), net.JoinHostPort(host, port))
		}
	}()
	return nil
}

// join carries bytes both ways until both sides have ended.
func join(client *net.TCPConn, address string) {
	defer client.Close()
	conn, err := net.Dial("tcp", address)
	if err != nil {
		return // the client sees its connection closed
	}
	server := conn.(*net.TCPConn)
	defer server.Close()
	done := make(chan struct{})
	go func() {
		defer close(done)
		carry(server, client)
	}()
	carry(client, server)
	<-done
}

func carry(to, from *net.TCPConn) {
	_, _ = io.Copy(to, from) // either side's end is the end
	_ = to.CloseWrite()
}
