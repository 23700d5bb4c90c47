import json

from vmkit.lab import Lab
from vmkit.lab.remote import RemoteLab


def test_an_upload_through_the_api_of_a_lab():
    with Lab(frozen=True) as lab:
        remote = RemoteLab.from_kubeconfig(lab.kubeconfig)

        def post(path, body):
            status, answer = remote.request("POST", path, json.dumps(body).encode())
            return status, json.loads(answer)

        volume = {
            "apiVersion": "cdi.kubevirt.io/v1beta1",
            "kind": "DataVolume",
            "metadata": {"name": "disk"},
            "spec": {"source": {"upload": {}}, "storage": {"resources": {"requests": {"storage": "1Gi"}}}},
        }
        assert post("/apis/cdi.kubevirt.io/v1beta1/namespaces/default/datavolumes", volume)[0] == 201
        remote.move_clock(advance_seconds=30)
        path = "/apis/upload.cdi.kubevirt.io/v1beta1/namespaces/default/uploadtokenrequests"
        asked = {
            "apiVersion": "upload.cdi.kubevirt.io/v1beta1",
            "kind": "UploadTokenRequest",
            "metadata": {"name": "disk"},
            "spec": {"pvcName": "disk"},
        }
        status, answered = post(path, asked)
        assert status == 201
        token = answered["status"]["token"]
        assert remote.request("POST", "/vmkit.io/lab/upload?token=forged", b"x")[0] == 401
        assert remote.request("POST", f"/vmkit.io/lab/upload?token={token}", b"an image")[0] == 200
        remote.move_clock(advance_seconds=1)
        _, found = remote.request("GET", "/apis/cdi.kubevirt.io/v1beta1/namespaces/default/datavolumes/disk")
        assert json.loads(found)["status"]["phase"] == "Succeeded"
        status, answered = post(path, {**asked, "spec": {"pvcName": "none"}})
        assert (status, answered["message"]) == (404, 'persistentvolumeclaims "none" not found')
