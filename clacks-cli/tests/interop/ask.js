// Sends bytes over TLS for each line of standard input:
// {"port": …, "hex": …, "answers": how many to wait for}.
// Writes a line for each of them, in the same order:
// {"statuses": […], "closed": whether the other side closed}.
const readline = require('readline')
const tls = require('tls')

const ask = ({ port, hex, answers }) => new Promise((done) => {
	let text = ''
	let finished = false
	const statuses = () => (text.match(/HTTP\/1\.1 \d{3}/g) || []).map((line) => Number(line.slice(9)))
	const socket = tls.connect({ port, host: '127.0.0.1', rejectUnauthorized: false })
	const finish = (closed) => {
		if (finished) return
		finished = true
		socket.destroy()
		done({ statuses: statuses(), closed })
	}
	socket.on('secureConnect', () => socket.write(Buffer.from(hex, 'hex')))
	socket.on('data', (data) => {
		text += data.toString('latin1')
		// What says that it closes is waited for to do so.
		if (statuses().length >= answers && !/connection: close/i.test(text)) finish(false)
	})
	socket.on('end', () => finish(true))
	socket.on('error', () => finish(true))
	socket.on('close', () => finish(true))
})

const lines = readline.createInterface({ input: process.stdin })
;(async () => {
	for await (const line of lines) console.log(JSON.stringify(await ask(JSON.parse(line))))
})()
