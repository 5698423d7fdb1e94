// dcmjs-dimse as a client: node dcmjs_client.js '{"verb": ..., "host": ..., ...}' prints one JSON.
//
// The environment's NODE_PATH says where the package lies.
const { Client, constants, requests, responses } = require("dcmjs-dimse");

const asked = JSON.parse(process.argv[2]);
const client = new Client();
const outcome = { statuses: [], answers: [], received: [] };

const make = {
  echo: () => [new requests.CEchoRequest()],
  store: () => asked.files.map((file) => new requests.CStoreRequest(file)),
  find: () => [requests.CFindRequest.createStudyFindRequest(asked.keys)],
  get: () => [requests.CGetRequest.createStudyGetRequest(asked.study)],
  move: () => [requests.CMoveRequest.createStudyMoveRequest(asked.destination, asked.study)],
};

for (const request of make[asked.verb]()) {
  request.on("response", (response) => {
    const pending = response.getStatus() === constants.Status.Pending;
    if (!pending) outcome.statuses.push(response.getStatus());
    if (pending && response.hasDataset()) outcome.answers.push(response.getDataset().getElements());
  });
  client.addRequest(request);
}
client.on("cStoreRequest", (request, callback) => {
  outcome.received.push(request.getDataset().getElement("SOPInstanceUID"));
  const response = responses.CStoreResponse.fromRequest(request);
  response.setStatus(constants.Status.Success);
  callback(response);
});
const finish = (error) => {
  process.stdout.write(JSON.stringify({ ...outcome, error: error ? String(error) : null }) + "\n");
  process.exit(error ? 1 : 0);
};
client.on("networkError", finish);
client.on("associationRejected", (result) => finish(JSON.stringify(result)));
client.on("closed", () => finish(null));
client.send(asked.host, asked.port, asked.calling, asked.called);
