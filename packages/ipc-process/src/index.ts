/** Objects in other processes: spawn a process, connect to one, listen for others, and call what they offer. */
export { RpcStub, RpcTarget } from 'capnweb';
