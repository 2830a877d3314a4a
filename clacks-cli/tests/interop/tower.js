// A tower of the JavaScript package. Commands arrive on standard input, and events are written to
// standard output, a line of JSON each.
//
// node tower.js PACKAGE KEY CERT PORT SENDRATE
const fs = require('fs')
const net = require('net')
const readline = require('readline')

const [, , path, key, cert, port, sendrate] = process.argv
const say = (event) => process.stdout.write(JSON.stringify(event) + '\n')
const clacks = require(path)
const options = { hostname: '127.0.0.1', port: Number(port), sendrate: Number(sendrate) }
const tower = clacks(fs.readFileSync(key), fs.readFileSync(cert), options)

let received = 0
tower.onMessageRecieved(() => { received += 1 })
tower.onPeerDiscovered((peer) => say({ event: 'peer', status: peer.status, port: peer.port }))
tower.onPeerUpdated((peer) => say({ event: 'peer', status: peer.status, port: peer.port }))

const verbs = {
	enqueue: ({ message }) => tower.enqueue(message),
	announce: ({ port }) => tower.announce('127.0.0.1', port),
	ignore: ({ port }) => tower.ignore('127.0.0.1', port),
	state: () => {
		const peers = {}
		for (const [status, all] of Object.entries(tower.getPeers())) {
			for (const peer of Object.values(all)) peers[peer.port] = status
		}
		say({ event: 'state', peers, received, queue: tower.peek() })
	},
}
readline.createInterface({ input: process.stdin })
	.on('line', (line) => {
		const command = JSON.parse(line)
		verbs[command.verb](command)
	})
	// The test process has ended.
	.on('close', () => process.exit(0))

const knock = () => net.connect(Number(port), '127.0.0.1')
	.on('connect', function () { this.destroy(); say({ event: 'ready' }) })
	.on('error', () => setImmediate(knock))
knock()
